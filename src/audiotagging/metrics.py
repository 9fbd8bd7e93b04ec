"""Label-weighted label-ranking average precision (lwlrap), the measure of Freesound Audio Tagging 2019."""

import numpy as np


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
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked_scores = np.take_along_axis(scores, order, axis=1)
    hits = np.cumsum(np.take_along_axis(truth, order, axis=1), axis=1)
    # Equal scores share the rank, and the hits, of the last of them.
    classes = scores.shape[1]
    last = np.where(ranked_scores[:, :-1] != ranked_scores[:, 1:], np.arange(classes - 1), classes - 1)
    last = np.concatenate([last, np.full((len(scores), 1), classes - 1)], axis=1)
    last = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]
    ranked_precisions = np.take_along_axis(hits, last, axis=1) / (last + 1)
    precisions = np.empty(scores.shape)
    np.put_along_axis(precisions, order, ranked_precisions, axis=1)
    return np.where(truth, precisions, 0.0)


def lwlrap(truth: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean, over all pairs of a clip and a true label, of the precision at that label's rank.

    Equals scikit-learn's `label_ranking_average_precision_score` with `sample_weight` = labels of the clip.

    Args:
        truth: Whether the clip has the label, bool, shape (clips, classes). Clips without a label do not count.
        scores: The higher, the more likely, shape (clips, classes).

    Raises:
        ValueError: If no clip has a label.
    """
    if not truth.any():
        raise ValueError("lwlrap needs at least one clip with a label, and none of the clips has any")
    return float(label_precisions(truth, scores).sum() / truth.sum())
