"""Label-weighted label-ranking average precision (lwlrap), the measure of Freesound Audio Tagging 2019."""

from collections.abc import Sequence

import numpy as np

from audiotagging.errors import UserError


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
