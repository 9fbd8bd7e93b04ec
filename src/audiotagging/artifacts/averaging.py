"""How the members of an ensemble are averaged: the means, and `ensemble.json`, which says what a run averaged how."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from audiotagging.artifacts.calibration import Calibration, Threshold
from audiotagging.base.errors import UserError
from audiotagging.base.typed_json import read_json

AVERAGING = "ensemble.json"


def _logs(scores: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(scores, np.finfo(np.float32).tiny, dtype=np.float64))


def _ranks(scores: np.ndarray) -> np.ndarray:
    order = np.argsort(scores, axis=-1)
    ordered = np.take_along_axis(scores, order, axis=-1)
    place = np.arange(scores.shape[-1])
    rises = np.diff(ordered, axis=-1, prepend=-np.inf, append=np.inf) > 0  # before each place, and after the last
    first = np.maximum.accumulate(np.where(rises[..., :-1], place, 0), axis=-1)  # of the equal scores at each place
    last = np.minimum.accumulate(np.where(rises[..., 1:], place, place[-1])[..., ::-1], axis=-1)[..., ::-1]
    ranks = np.empty(scores.shape)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, axis=-1)
    return ranks / scores.shape[-1]


def _unchanged(scores: np.ndarray) -> np.ndarray:
    return scores.astype(np.float64)


# Each mean has two functions. The first is applied to the scores before their weighted mean over the members, and the
# second to that mean. "rank" replaces a score by the rank of its class in the clip, because lwlrap depends on ranks
# alone; equal scores get their mean rank.
MEANS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    "arithmetic": (_unchanged, _unchanged),
    "geometric": (_logs, np.exp),
    "rank": (_ranks, _unchanged),
}


@dataclass(frozen=True)
class Averaging:
    """How the members of an ensemble are averaged, and what their average means.

    Attributes:
        mean: One of `MEANS`.
        weights: The weight of every member by its id. They sum to 1.
        calibration: How scores become probabilities. None if no fold was held out to fit it to.
        thresholds: For every class, the thresholds that promise a precision. Empty if there is no calibration.
    """

    mean: str
    weights: dict[str, float]
    calibration: Calibration | None = None
    thresholds: dict[str, list[Threshold]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the mean and the weights."""
        if self.mean not in MEANS:
            raise UserError(f"expected mean to be one of {', '.join(MEANS)}, found {self.mean[:80]!r}")
        weights = self.weights.values()
        if not all(weight >= 0 for weight in weights) or not math.isclose(sum(weights), 1, rel_tol=1e-6):
            raise UserError(f"expected weights of at least 0 that sum to 1, found {str([*weights])[:80]}")
        if set(self.thresholds) != set(self.calibration.curves if self.calibration else ()):
            raise UserError("expected the curve and the thresholds of every class, found other classes in one of them")

    def lowest_scores(self, promised: float) -> dict[str, float]:
        """Return the threshold of every class that has one for a promised precision."""
        return {
            label: each.score
            for label, thresholds in self.thresholds.items()
            for each in thresholds
            if each.promised == promised
        }


def average(scores: np.ndarray, *, mean: str, weights: np.ndarray | None = None) -> np.ndarray:
    """Average the scores of the members.

    Args:
        scores: Scores in [0, 1], shape (members, clips, classes).
        mean: A key of `MEANS`.
        weights: Weights of the members, shape (members,). They must sum to 1. By default all members weigh the same.

    Returns:
        Averaged scores, float32, shape (clips, classes).

    Raises:
        UserError: If `mean` is not a key of `MEANS`.

    Examples:
        Two members score one clip and two classes.

        >>> import numpy as np
        >>> scores = np.array([[[0.2, 0.8]], [[0.8, 0.8]]])
        >>> average(scores, mean="arithmetic")
        array([[0.5, 0.8]], dtype=float32)
        >>> average(scores, mean="geometric")
        array([[0.4, 0.8]], dtype=float32)
        >>> average(scores, mean="arithmetic", weights=np.array([0.75, 0.25]))
        array([[0.35, 0.8 ]], dtype=float32)
    """
    if mean not in MEANS:
        raise UserError(f"expected one of the means {', '.join(MEANS)}, found {mean!r}")
    if weights is None:
        weights = np.full(len(scores), 1 / len(scores))
    before, after = MEANS[mean]
    return after(np.tensordot(weights, before(scores), axes=1)).astype(np.float32)


def read_averaging(folder: Path, *, classes: Collection[str]) -> Averaging:
    """Read how the members of an ensemble are averaged.

    Args:
        folder: The folder of the ensemble.
        classes: The classes of its members.

    Raises:
        UserError: If the file is corrupt, or of other classes.
        FileNotFoundError: If there is none.
    """
    averaging = read_json(folder / AVERAGING, Averaging)
    if averaging.calibration and set(averaging.calibration.curves) != set(classes):
        raise UserError(
            f"{folder / AVERAGING}: expected the calibration of {len(classes)} classes, found "
            f"{len(averaging.calibration.curves)} or others; restore the original file"
        )
    return averaging
