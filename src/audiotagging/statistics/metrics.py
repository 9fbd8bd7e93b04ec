"""Measures of scores: lwlrap, average precision and calibration error.

The label-weighted label-ranking average precision (lwlrap) is the measure of Freesound Audio Tagging 2019. It ranks the
classes of each clip. The average precision of a class ranks the clips.
"""

from collections.abc import Sequence

import numpy as np

from audiotagging.base.errors import UserError


def label_table(labels: Sequence[Sequence[str]], classes: Sequence[str]) -> np.ndarray:
    """Convert lists of labels to a table.

    Args:
        labels: Labels of each clip.
        classes: The classes, in the order of the columns.

    Returns:
        True where the clip has the label, bool, shape (clips, classes).

    Examples:
        >>> label_table([["Bark"], ["Bark", "Meow"]], ["Bark", "Meow"])
        array([[ True, False],
               [ True,  True]])
    """
    column = {label: number for number, label in enumerate(classes)}
    table = np.zeros((len(labels), len(classes)), bool)
    for row, names in zip(table, labels, strict=True):
        row[[column[name] for name in names]] = True
    return table


def label_precisions(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Compute the precision at the rank of every true label.

    The rank of a label is the number of classes that score at least as high, so ties count against it, as in
    scikit-learn's `label_ranking_average_precision_score`.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        scores: Scores, higher for likelier labels, shape (clips, classes).

    Returns:
        Precisions, shape (clips, classes). They are 0 where `truth` is false.

    Examples:
        The labels of this clip rank first and third. The precision at the third rank is two labels in three.

        >>> import numpy as np
        >>> truth = np.array([[True, False, True]])
        >>> label_precisions(truth, np.array([[0.9, 0.5, 0.2]])).round(3)
        array([[1.   , 0.   , 0.667]])
    """
    clips, labels = np.nonzero(truth)
    above = scores[clips] >= scores[clips, labels, None]  # (pairs, classes)
    precisions = np.zeros(scores.shape)
    precisions[clips, labels] = (above & truth[clips]).sum(axis=1) / above.sum(axis=1)
    return precisions


def lwlrap(truth: np.ndarray, scores: np.ndarray) -> float:
    """Compute the lwlrap: the mean precision at the rank of every true label of every clip.

    It equals scikit-learn's `label_ranking_average_precision_score` with the number of labels of each clip as its
    `sample_weight`.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes). Clips without labels are ignored.
        scores: Scores, higher for likelier labels, shape (clips, classes).

    Returns:
        A value in (0, 1]; 1 is perfect.

    Raises:
        UserError: If no clip has a label.

    Examples:
        The first clip's label ranks first, and the second clip's label ranks second.

        >>> import numpy as np
        >>> truth = np.array([[True, False], [False, True]])
        >>> scores = np.array([[0.9, 0.1], [0.8, 0.2]])
        >>> lwlrap(truth, scores)
        0.75
    """
    if not truth.any():
        raise UserError("expected at least one clip with a label to compute the lwlrap, found none")
    return float(label_precisions(truth, scores).sum() / truth.sum())


def chance(truth: np.ndarray) -> float:
    """Compute the lwlrap that random scores have on average.

    The rank of each label is then equally likely to be 1 to C, the number of classes. Of the clip's L - 1 other labels,
    the share (rank - 1) / (C - 1) ranks above it on average, so the precision at its rank is
    (1 + (L - 1) * (rank - 1) / (C - 1)) / rank.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes), with at least one label.

    Examples:
        The label of a clip ranks first or second among two classes: (1/1 + 1/2) / 2.

        >>> chance(np.array([[True, False]]))
        0.75
    """
    classes = truth.shape[1]
    labels = truth.sum(axis=1)
    others = (labels - 1) / max(classes - 1, 1)  # share of the other classes that are labels
    first = (1 / np.arange(1, classes + 1)).mean()  # mean of 1 / rank
    return float((labels * (others + (1 - others) * first)).sum() / labels.sum())


def margins(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return by how much the lowest score of each clip's labels exceeds the highest score of its other classes.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes). Every clip has at least one label.
        scores: Scores, higher for likelier classes, shape (clips, classes).

    Returns:
        Shape (clips,). A margin is positive if all labels rank above all other classes, and infinite if the clip has
        every label.

    Examples:
        >>> truth = np.array([[True, False, False], [False, True, False]])
        >>> scores = np.array([[0.75, 0.5, 0.0], [0.75, 0.5, 0.0]])
        >>> margins(truth, scores)
        array([ 0.25, -0.25])
    """
    labels = np.where(truth, scores, np.inf).min(axis=1)
    others = np.where(truth, -np.inf, scores).max(axis=1)
    return labels - others


def average_precisions(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Compute the average precision of every class.

    The clips are ranked by their score of the class. The average precision is the mean precision at the ranks of the
    clips that have the label. Ties count against it, as in scikit-learn's `average_precision_score`.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        scores: Scores, higher for likelier labels, shape (clips, classes).

    Returns:
        Average precisions, shape (classes,). NaN where no clip has the label.

    Examples:
        Of three clips, those that have the label rank first and third: (1/1 + 2/3) / 2.

        >>> average_precisions(np.array([[True], [False], [True]]), np.array([[0.9], [0.5], [0.2]])).round(3)
        array([0.833])
    """
    precisions = np.full(truth.shape[1], np.nan)
    for column in np.flatnonzero(truth.any(axis=0)):
        labels, found = truth[:, column], scores[:, column]
        among_all, among_labelled = np.sort(found), np.sort(found[labels])
        # The clips that score at least as high as a labelled clip: all of them, and those with the label.
        above = len(among_all) - np.searchsorted(among_all, among_labelled)
        right = len(among_labelled) - np.searchsorted(among_labelled, among_labelled)
        precisions[column] = (right / above).mean()
    return precisions


def mean_average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """Compute the mAP (macro): the mean of the average precisions of the classes that at least one clip has.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes), with at least one label.
        scores: Scores, higher for likelier labels, shape (clips, classes).

    Returns:
        A value in (0, 1]; 1 is perfect.
    """
    return float(np.nanmean(average_precisions(truth, scores)))


def calibration_bins(truth: np.ndarray, probabilities: np.ndarray, *, bins: int = 15) -> list[dict[str, float]]:
    """Compare probabilities with what is true, in bins of equal width.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        probabilities: Values in [0, 1], shape (clips, classes).
        bins: Number of bins.

    Returns:
        One row per bin that is not empty: the mean `probability` of its pairs of a clip and a class, the `share` of
        these that are true, and the number of `pairs`.

    Examples:
        >>> calibration_bins(np.array([[True, False]]), np.array([[0.75, 0.0]]))
        [{'probability': 0.0, 'share': 0.0, 'pairs': 1}, {'probability': 0.75, 'share': 1.0, 'pairs': 1}]
    """
    places = np.minimum((probabilities * bins).astype(int), bins - 1).ravel()
    pairs = np.bincount(places, minlength=bins)
    sums = np.bincount(places, probabilities.ravel(), bins), np.bincount(places, truth.ravel(), bins)
    return [
        {
            "probability": float(sums[0][place] / pairs[place]),
            "share": float(sums[1][place] / pairs[place]),
            "pairs": int(pairs[place]),
        }
        for place in np.flatnonzero(pairs)
    ]


def calibration_error(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Compute the expected calibration error (ECE) of probabilities.

    This is the mean difference between the probability and the share of 15 bins, weighted by their pairs (Guo et al.,
    "On calibration of modern neural networks", ICML 2017).

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        probabilities: Values in [0, 1], shape (clips, classes).

    Returns:
        A value in [0, 1]; 0 is perfect.

    Examples:
        >>> calibration_error(np.array([[True, False]]), np.array([[0.75, 0.0]]))
        0.125
    """
    bins = calibration_bins(truth, probabilities)
    return sum(row["pairs"] * abs(row["probability"] - row["share"]) for row in bins) / truth.size
