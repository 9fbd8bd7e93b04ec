"""Folds for cross-validation that give every fold its share of every label."""

from collections.abc import Sequence

import numpy as np


def stratify(clips: Sequence[str], labels: Sequence[Sequence[str]], *, folds: int, seed: int) -> np.ndarray:
    """Assign every clip to a fold by iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011).

    Labels are dealt out one after the other, the one with the fewest clips left first. Each of its clips goes to the
    fold that lacks this label most; among equals, to the one that lacks clips most. The result depends on names and
    labels alone, not on the order of the clips or of their labels.

    Args:
        clips: The clips' names, all different.
        labels: The labels of every clip, at least one each.
        folds: Number of folds.
        seed: Seed of the choices among equals.

    Returns:
        The fold of every clip, int8, shape (clips,).
    """
    by_name = np.argsort(np.array(clips, dtype=object), kind="stable")
    classes = sorted({label for clip in labels for label in clip})
    has = np.array([[label in labels[clip] for label in classes] for clip in by_name])  # (clips, classes)

    rng = np.random.default_rng(seed)
    wanted_labels = np.tile(has.sum(axis=0) / folds, (folds, 1))  # (folds, classes): still wanted by each fold
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
