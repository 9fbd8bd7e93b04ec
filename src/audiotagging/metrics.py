"""Label-weighted label-ranking average precision (lwlrap), the measure of Freesound Audio Tagging 2019."""

from collections.abc import Sequence

import numpy as np

from audiotagging.errors import UserError


def label_table(labels: Sequence[Sequence[str]], classes: Sequence[str]) -> np.ndarray:
    """Return which clip has which label, bool, shape (clips, classes)."""
    column = {label: number for number, label in enumerate(classes)}
    table = np.zeros((len(labels), len(classes)), bool)
    for row, names in zip(table, labels, strict=True):
        row[[column[name] for name in names]] = True
    return table


def label_precisions(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the precision at the rank of every true label.

    A label's rank counts every class that scores at least as high: ties count against it, as in scikit-learn's
    `label_ranking_average_precision_score`.

    Args:
        truth: Whether the clip has the label, bool, shape (clips, classes).
        scores: The higher, the more likely, shape (clips, classes).

    Returns:
        Precisions, shape (clips, classes): 0 where `truth` is false.
    """
    clips, labels = np.nonzero(truth)
    above = scores[clips] >= scores[clips, labels, None]  # (pairs, classes)
    precisions = np.zeros(scores.shape)
    precisions[clips, labels] = (above & truth[clips]).sum(axis=1) / above.sum(axis=1)
    return precisions


def lwlrap(truth: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean, over all pairs of a clip and a true label, of the precision at that label's rank.

    Equals scikit-learn's `label_ranking_average_precision_score` with `sample_weight` = labels of the clip.

    Args:
        truth: Whether the clip has the label, bool, shape (clips, classes). Clips without a label do not count.
        scores: The higher, the more likely, shape (clips, classes).

    Raises:
        UserError: If no clip has a label.
    """
    if not truth.any():
        raise UserError("lwlrap needs at least one clip with a label, and none of the clips has any")
    return float(label_precisions(truth, scores).sum() / truth.sum())
