"""Divides clips so that every part gets its share of every label: folds for cross-validation, and test clips."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np


def stratify(
    clips: Sequence[str],
    labels: Sequence[Sequence[str]],
    *,
    shares: Sequence[float],
    seed: int,
    groups: Sequence[str] | None = None,
) -> np.ndarray:
    """Assign every clip to a part by iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011).

    Labels are distributed one at a time, starting with the label that has the fewest clips left. Each clip goes to the
    part that needs the most clips with this label; ties go to the part that needs the most clips, and remaining ties
    are broken at random. The result depends only on the names and labels, not on the order of the clips or labels.

    Args:
        clips: Names of the clips, all different.
        labels: Labels of every clip. Clips without labels are distributed last.
        shares: The shares of the parts, such as `[1, 1, 1, 1, 1]` for five folds.
        seed: Seed for breaking ties.
        groups: The group of every clip. The clips of a group stay together. By default every clip is a group.

    Returns:
        The part of every clip, int8, shape (clips,).

    Examples:
        Each of the two folds gets one clip of a dog and one of a bird:

        >>> labels = [["Dog"], ["Dog"], ["Bird"], ["Bird"]]
        >>> fold = stratify(["1.wav", "2.wav", "3.wav", "4.wav"], labels, shares=[1, 1], seed=534)
        >>> [labels[clip] for clip in np.flatnonzero(fold == 0)]
        [['Dog'], ['Bird']]
    """
    groups = clips if groups is None else groups
    names, group = np.unique(np.array(groups, dtype=object), return_inverse=True)
    classes, column = np.unique(np.array([each for clip in labels for each in clip], dtype=object), return_inverse=True)
    rows = np.repeat(group, [len(clip) for clip in labels])
    has: list[Counter[int]] = [Counter() for _ in names]  # by group: the number of its clips with each label
    groups_with = defaultdict(set)  # by label: the groups that have it and are not assigned yet
    for row, label in zip(rows.tolist(), column.tolist(), strict=True):
        has[row][label] += 1
        groups_with[label].add(row)
    sizes = np.bincount(group)

    rng = np.random.default_rng(seed)
    total = sum(shares)
    left = np.bincount(column, minlength=len(classes))  # clips with each label that are not assigned yet
    wanted_labels = np.outer(shares, left) / total  # (parts, classes): how many more each part needs
    wanted_clips = np.array(shares) * len(clips) / total
    part = np.full(len(names), -1, np.int8)
    while left.any():
        rarest = np.argmin(np.where(left > 0, left, len(clips) + 1))
        for row in rng.permutation(sorted(groups_with[rarest])):
            best = np.lexsort((rng.random(len(shares)), -wanted_clips, -wanted_labels[:, rarest]))[0]
            part[row] = best
            wanted_clips[best] -= sizes[row]
            for label, count in has[row].items():
                wanted_labels[best, label] -= count
                left[label] -= count
                groups_with[label].discard(row)
    for row in rng.permutation(np.flatnonzero(part < 0)):
        part[row] = np.lexsort((rng.random(len(shares)), -wanted_clips))[0]
        wanted_clips[part[row]] -= sizes[row]
    return part[group]
