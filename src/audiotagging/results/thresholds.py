"""Finds the scores from which on a class is tagged with a promised precision.

The precision at a threshold is the share of the clips that reach it and have the label. A threshold that is chosen
because this share is high enough on some clips is too optimistic for others. A promise therefore needs the lower end of
the share's interval to be high enough, which also needs enough clips.
"""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from audiotagging.artifacts.calibration import Threshold

PROMISES = (0.8, 0.9, 0.95)  # precisions
LEVEL = 0.8  # of the intervals; the precision is at least the lower end with a confidence of 90 %


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


def find_thresholds(truth: np.ndarray, scores: np.ndarray, classes: Sequence[str]) -> dict[str, list[Threshold]]:
    """Find the lowest threshold of every class for each of `PROMISES`.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        scores: Out-of-fold scores, shape (clips, classes).
        classes: The classes.

    Returns:
        The thresholds of every class. A promise that the clips do not allow is left out.
    """
    return {
        label: _find_thresholds(labels, found) for label, labels, found in zip(classes, truth.T, scores.T, strict=True)
    }


def _find_thresholds(labels: np.ndarray, scores: np.ndarray) -> list[Threshold]:
    """Return the thresholds of one class, from arrays of shape (clips,)."""
    values = np.unique(scores)
    clips = len(scores) - np.searchsorted(np.sort(scores), values)
    right = labels.sum() - np.searchsorted(np.sort(scores[labels]), values)
    low, high = wilson(right, clips)
    thresholds = []
    for promised in PROMISES:
        enough = np.flatnonzero(low >= promised)
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
