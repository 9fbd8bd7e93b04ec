"""Finds the scores from which on a class is tagged with a promised precision.

The precision at a threshold is the share of the clips that reach it and have the label. A threshold that is chosen
because this share is high enough on some clips is too optimistic for others, and the more thresholds are tried, the
more so. A threshold is therefore the last of a fixed sequence of tests (A. N. Angelopoulos et al., "Learn then test:
calibrating predictive algorithms to achieve risk control", 2021, section 2.3). The sequence begins at the highest score
that enough clips reach, and goes down score by score. Each test is exact (C. J. Clopper and E. S. Pearson, "The use of
confidence or fiducial limits illustrated in the case of the binomial", 1934): would at least as many clips be right
with a probability of 10 % at most, if the precision were no higher than the promised one? The first test that fails
ends the sequence. All thresholds before it keep the promise with a confidence of 90 %, because a broken promise among
them needs an error in the first test of one.

The clips all have something to tag. So that silence and noise are not tagged, a threshold also lies above the scores of
the disturbances (`audiotagging.data.synthetic_negatives`).
"""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np

from audiotagging.artifacts.calibration import TARGET_PRECISIONS, Threshold, logits, sigmoid

ERROR = 0.1  # probability that a class has a threshold that does not keep its promise

# On the scale of logits. Of other draws of the kind with the highest score, 18 % passed this score, and .3 % the score
# that lies so much above it (16 draws of every variant, two ensembles of two demo members: ESC-10 and the demo data).
MARGIN = 0.3


def wilson(right: np.ndarray, clips: np.ndarray, *, level: float) -> tuple[np.ndarray, np.ndarray]:
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


def clopper_pearson(right: int, clips: int) -> tuple[float, float]:
    """Return the interval of Clopper and Pearson of a share, whose ends each are wrong with a probability of `ERROR`.

    Args:
        right: Number of clips that are right.
        clips: Number of clips, at least 1.

    Examples:
        >>> low, high = clopper_pearson(9, 10)
        >>> round(low, 3), round(high, 3)
        (0.663, 0.99)
    """
    low = _solve(right, clips) if right else 0.0
    high = 1 - _solve(clips - right, clips) if right < clips else 1.0
    return low, high


def _solve(right: int, clips: int) -> float:
    """Return the precision with which at least so many clips are right with a probability of `ERROR`, by bisection."""
    counts, factorials = np.arange(right, clips + 1), _log_factorials(clips)
    ways = factorials[clips] - factorials[counts] - factorials[clips - counts]
    low, high = 0.0, 1.0
    while (middle := (low + high) / 2) not in (low, high):
        chances = np.exp(ways + counts * math.log(middle) + (clips - counts) * math.log1p(-middle))
        low, high = (middle, high) if chances.sum() <= ERROR else (low, middle)
    return low


def _log_factorials(largest: int) -> np.ndarray:
    """Return the logarithms of the factorials of 0, 1, ... up to the largest number."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, largest + 1)))])


def chances_of(labels: np.ndarray, *, precision: float) -> np.ndarray:
    """Return how probable it is that at least as many clips are right as the first 1, 2, ... clips have the label.

    Args:
        labels: Whether each clip has the label, the highest score first, bool, shape (clips,).
        precision: The probability that a clip has the label.

    Returns:
        The upper tails of the binomial distribution, shape (clips,), exact to 1e-12 or so.
    """
    # Of n clips, k of them right, the tail P(X >= k) becomes that of n + 1 clips by adding precision * P(X = k - 1) if
    # the next clip is wrong, and by subtracting (1 - precision) * P(X = k) if it is right.
    clips = np.arange(len(labels))
    right = np.cumsum(labels) - labels
    counts = right - ~labels
    factorials = _log_factorials(len(labels))
    ways = factorials[clips] - factorials[counts] - factorials[clips - counts]
    points = np.exp(ways + counts * math.log(precision) + (clips - counts) * math.log1p(-precision))
    points[counts < 0] = 0
    return 1 + np.cumsum(np.where(labels, (precision - 1) * points, precision * points))


def fewest_clips(promised: float) -> int:
    """Return the number of clips that a promise needs if all of them are right.

    Examples:
        >>> [fewest_clips(promised) for promised in TARGET_PRECISIONS]
        [11, 22, 45]
    """
    return math.ceil(math.log(ERROR) / math.log(promised))


def find_min_scores(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
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
    truth: np.ndarray, scores: np.ndarray, classes: Sequence[str], *, min_scores: np.ndarray | None = None
) -> dict[str, list[Threshold]]:
    """Find the lowest threshold of every class for each of `TARGET_PRECISIONS`.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        scores: Out-of-fold scores, shape (clips, classes).
        classes: The classes.
        min_scores: The score of every class that its thresholds must lie above, shape (classes,). The default is none.

    Returns:
        The thresholds of every class. A promise that the clips do not allow is left out.
    """
    if min_scores is None:
        min_scores = np.full(len(classes), -np.inf)
    columns = zip(classes, truth.T, scores.T, min_scores, strict=True)
    return {label: _find_thresholds(labels, found, floor) for label, labels, found, floor in columns}


def lowest_scores(
    thresholds: Mapping[str, Sequence[Threshold]], classes: Sequence[str], *, promised: float
) -> np.ndarray:
    """Return the threshold of every class for a promised precision, infinity if it has none, shape (classes,)."""
    found = [{each.promised: each.score for each in thresholds[label]} for label in classes]
    return np.array([scores.get(promised, np.inf) for scores in found])


def _find_thresholds(labels: np.ndarray, scores: np.ndarray, floor: float) -> list[Threshold]:
    """Return the thresholds of one class, from arrays of shape (clips,)."""
    order = np.argsort(-scores, kind="stable")
    labels, scores = labels[order], scores[order]
    last = np.flatnonzero(np.append(scores[:-1] > scores[1:], True))  # the last clip of every score
    right = np.cumsum(labels)
    thresholds = []
    for promised in TARGET_PRECISIONS:
        tested = last[last + 1 >= fewest_clips(promised)]
        passes = chances_of(labels, precision=promised)[tested] <= ERROR
        kept = tested[np.logical_and.accumulate(passes) & (scores[tested] > floor)]
        if len(kept):
            place = kept[-1]
            low, high = clopper_pearson(int(right[place]), int(place) + 1)
            thresholds.append(
                Threshold(
                    promised=promised,
                    score=float(scores[place]),
                    clips=int(place) + 1,
                    precision=float(right[place] / (place + 1)),
                    low=max(promised, low),  # rounding could make it lower
                    high=high,
                    recall=float(right[place] / labels.sum()),
                )
            )
    return thresholds
