"""Finds the scores from which on a class is tagged with a promised precision.

The precision at a threshold is the share of the clips that reach it and have the label. A threshold that is chosen
because this share is high enough on some clips is too optimistic for others. A promise therefore needs the lower end of
the share's interval to be high enough, which also needs enough clips.

The clips all have something to tag. So that silence and noise are not tagged, a threshold also lies above the scores of
the disturbances (`audiotagging.data.disturbances`).
"""

from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np

from audiotagging.artifacts.calibration import PROMISES, Threshold, logits, sigmoid

LEVEL = 0.8  # of the intervals; the precision is at least the lower end with a confidence of 90 %

# On the scale of logits. Of other draws of the kind with the highest score, 18 % passed this score, and .3 % the score
# that lies so much above it (16 draws of every variant, two ensembles of two demo members: ESC-10 and the demo data).
MARGIN = 0.3


def wilson(right: np.ndarray, clips: np.ndarray, *, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Return Wilson's interval of a share (E. B. Wilson, "Probable inference", 1927).

    Args:
        right: Number of clips that are right, shape (n,).
        clips: Number of clips, at least 1, shape (n,).
        level: Confidence level.

    Returns:
        The lower and the upper ends, each of shape (n,).

    Examples:
        >>> import numpy as np
        >>> low, high = wilson(np.array([9]), np.array([10]), level=0.95)
        >>> low.round(3), high.round(3)
        (array([0.596]), array([0.982]))
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = right / clips
    middle = share + z**2 / (2 * clips)
    width = z * np.sqrt(share * (1 - share) / clips + z**2 / (4 * clips**2))
    low, high = (middle - width) / (1 + z**2 / clips), (middle + width) / (1 + z**2 / clips)
    return np.clip(low, 0, share), np.clip(high, share, 1)  # rounding could exceed them


def fewest_clips(promised: float) -> int:
    """Return the number of clips that a promise needs if all of them are right.

    Examples:
        >>> [fewest_clips(promised) for promised in PROMISES]
        [7, 15, 32]
    """
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    return int(np.ceil(z**2 * promised / (1 - promised)))


def find_floors(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the score of every class above which disturbances are not tagged, by `MARGIN` above the highest wrong one.

    Args:
        truth: True where the label is right for the disturbance, bool, shape (disturbances, classes).
        scores: Their scores in [0, 1], shape (disturbances, classes).

    Returns:
        Shape (classes,), minus infinity where there is no disturbance without the label.
    """
    highest = np.where(truth, -np.inf, scores).max(axis=0, initial=-np.inf)
    return np.where(np.isfinite(highest), sigmoid(logits(highest) + MARGIN), -np.inf)


def find_thresholds(
    truth: np.ndarray, scores: np.ndarray, classes: Sequence[str], *, floors: np.ndarray | None = None
) -> dict[str, list[Threshold]]:
    """Find the lowest threshold of every class for each of `PROMISES`.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        scores: Out-of-fold scores, shape (clips, classes).
        classes: The classes.
        floors: The score of every class that its thresholds must lie above, shape (classes,). The default is none.

    Returns:
        The thresholds of every class. A promise that the clips do not allow is left out.
    """
    if floors is None:
        floors = np.full(len(classes), -np.inf)
    columns = zip(classes, truth.T, scores.T, floors, strict=True)
    return {label: _find_thresholds(labels, found, floor) for label, labels, found, floor in columns}


def lowest_scores(
    thresholds: Mapping[str, Sequence[Threshold]], classes: Sequence[str], *, promised: float
) -> np.ndarray:
    """Return the threshold of every class for a promised precision, infinity if it has none, shape (classes,)."""
    found = [{each.promised: each.score for each in thresholds[label]} for label in classes]
    return np.array([scores.get(promised, np.inf) for scores in found])


def _find_thresholds(labels: np.ndarray, scores: np.ndarray, floor: float) -> list[Threshold]:
    """Return the thresholds of one class, from arrays of shape (clips,)."""
    values = np.unique(scores)
    clips = len(scores) - np.searchsorted(np.sort(scores), values)
    right = labels.sum() - np.searchsorted(np.sort(scores[labels]), values)
    low, high = wilson(right, clips)
    thresholds = []
    for promised in PROMISES:
        enough = np.flatnonzero((low >= promised) & (values > floor))
        if len(enough):
            place = enough[0]
            thresholds.append(
                Threshold(
                    promised=promised,
                    score=float(values[place]),
                    clips=int(clips[place]),
                    precision=float(right[place] / clips[place]),
                    low=float(low[place]),
                    high=float(high[place]),
                    recall=float(right[place] / labels.sum()),
                )
            )
    return thresholds
