"""Stratified folds for cross-validation: every fold gets its share of every label."""

from collections.abc import Sequence

import numpy as np


def stratify(clips: Sequence[str], labels: Sequence[Sequence[str]], *, folds: int, seed: int) -> np.ndarray:
    """Assign every clip to a fold by iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011).

    Labels are distributed one at a time, starting with the label that has the fewest clips left. Each clip goes to the
    fold that needs the most clips with this label; ties go to the fold that needs the most clips, and remaining ties
    are broken at random. The result depends only on the names and labels, not on the order of the clips or labels.

    Args:
        clips: Names of the clips, all different.
        labels: Labels of every clip, at least one each.
        folds: Number of folds.
        seed: Seed for breaking ties.

    Returns:
        The fold of every clip, int8, shape (clips,).

    Examples:
        Each of the two folds gets one clip of a dog and one of a bird:

        >>> labels = [["Dog"], ["Dog"], ["Bird"], ["Bird"]]
        >>> fold = stratify(["1.wav", "2.wav", "3.wav", "4.wav"], labels, folds=2, seed=534)
        >>> [labels[clip] for clip in np.flatnonzero(fold == 0)]
        [['Dog'], ['Bird']]
    """
    by_name = np.argsort(np.array(clips, dtype=object), kind="stable")
    classes = sorted({label for clip in labels for label in clip})
    has = np.array([[label in labels[clip] for label in classes] for clip in by_name])  # (clips, classes)

    rng = np.random.default_rng(seed)
    wanted_labels = np.tile(has.sum(axis=0) / folds, (folds, 1))  # (folds, classes): how many more each fold needs
    wanted_clips = np.full(folds, len(clips) / folds)
    fold = np.full(len(clips), -1, np.int8)
    while (fold < 0).any():
        left = has[fold < 0].sum(axis=0)
        rarest = np.argmin(np.where(left > 0, left, len(clips) + 1))
        for clip in rng.permutation(np.flatnonzero(has[:, rarest] & (fold < 0))):
            best = np.lexsort((rng.random(folds), -wanted_clips, -wanted_labels[:, rarest]))[0]
            fold[clip] = best
            wanted_labels[best] -= has[clip]
            wanted_clips[best] -= 1
    by_clip = np.empty_like(fold)
    by_clip[by_name] = fold
    return by_clip
