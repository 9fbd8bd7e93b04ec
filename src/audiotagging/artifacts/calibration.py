"""How the scores of an ensemble become probabilities, and the thresholds that promise a precision.

Both are in `ensemble.json` (`audiotagging.artifacts.ensemble_folder`), if folds were held out to fit them to.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audiotagging.base.errors import UserError

METHODS = ("platt", "isotonic")  # keys of ensemble.calibration.METHODS
TARGET_PRECISIONS = (0.8, 0.9, 0.95)  # precisions that thresholds promise
EDGE = 1e-6  # scores are limited to [EDGE, 1 - EDGE], so that their logits are finite


@dataclass(frozen=True)
class Curve:
    """A map from scores to probabilities that never falls.

    It is linear between its points on the scale of logits, log(p / (1 - p)), and constant outside.

    Attributes:
        scores: Logits of scores, in ascending order.
        probabilities: The logit of the probability at each of these scores.
    """

    scores: list[float]
    probabilities: list[float]

    def __post_init__(self) -> None:
        """Check that the curve never falls."""
        if len(self.scores) != len(self.probabilities) or not self.scores:
            raise UserError(
                f"expected a curve with one probability per score, found {len(self.scores)} scores and "
                f"{len(self.probabilities)} probabilities"
            )
        if (np.diff(self.scores) <= 0).any() or (np.diff(self.probabilities) < 0).any():
            raise UserError("expected a curve with ascending scores and probabilities, found others")


@dataclass(frozen=True)
class Calibration:
    """The curves of an ensemble.

    Attributes:
        method: How they were fitted: one of `METHODS`.
        log_loss: The mean log loss in a cross-validation, of both methods and of the "uncalibrated" scores.
        submitted: Whether the submission holds calibrated scores, because their lwlrap was clearly higher in that.
        curves: The curve of every class.
    """

    method: str
    log_loss: dict[str, float]
    submitted: bool
    curves: dict[str, Curve]

    def __post_init__(self) -> None:
        """Check the method."""
        if self.method not in METHODS:
            raise UserError(f"expected method to be one of {', '.join(METHODS)}, found {self.method[:80]!r}")


@dataclass(frozen=True)
class Threshold:
    """The lowest score of a class that promises a precision.

    Attributes:
        promised: The precision.
        score: The threshold: the ensemble's uncalibrated score.
        clips: Number of out-of-fold clips that reach it.
        precision: Share of these clips that have the label.
        low: Lower end of the 80 % interval of this share, at least the promised precision.
        high: Upper end of this interval.
        recall: Share of the clips with the label that reach the threshold.
    """

    promised: float
    score: float
    clips: int
    precision: float
    low: float
    high: float
    recall: float

    def __post_init__(self) -> None:
        """Check that it keeps its promise."""
        if not (0 < self.promised <= self.low <= self.precision <= self.high <= 1 and 0 < self.recall <= 1):
            raise UserError(f"expected a threshold with a precision of at least {self.promised}, found {self}")


def logits(probabilities: np.ndarray) -> np.ndarray:
    """Return log(p / (1 - p)) of probabilities limited to [EDGE, 1 - EDGE], float64, in the same shape."""
    limited = np.clip(probabilities.astype(np.float64), EDGE, 1 - EDGE)
    return np.log(limited) - np.log1p(-limited)


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)), the inverse of `logits`."""
    return np.exp(-np.logaddexp(0, -values))


def calibrate(scores: np.ndarray, curves: Sequence[Curve]) -> np.ndarray:
    """Turn the scores of an ensemble into probabilities.

    Args:
        scores: Scores, float32, shape (clips, classes).
        curves: The curve of each class.

    Returns:
        Probabilities that the clip has the label, float32, shape (clips, classes).

    Examples:
        This curve halves the odds of every score.

        >>> import numpy as np
        >>> curve = Curve([-9.0, 9.0], [-9.0 - np.log(2), 9.0 - np.log(2)])
        >>> calibrate(np.array([[0.5], [0.8]]), [curve]).round(3)
        array([[0.333],
               [0.667]], dtype=float32)
    """
    columns = [
        np.interp(column, curve.scores, curve.probabilities)
        for column, curve in zip(logits(scores).T, curves, strict=True)
    ]
    return sigmoid(np.stack(columns, axis=1)).astype(np.float32)
