"""Chooses the tags of a sound from its scores: the best ones, or those that a precision is promised for."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np

from audiotagging.artifacts.averaging import Averaging
from audiotagging.artifacts.calibration import calibrate
from audiotagging.base.errors import UserError

Choose = Callable[[np.ndarray], list[tuple[str, float]]]


def choice(classes: Sequence[str], averaging: Averaging, *, top: int, precision: float | None = None) -> Choose:
    """Return a function from the scores of a sound, shape (classes,), to its tags: labels with scores, best first.

    Args:
        classes: The classes, in the order of the scores.
        averaging: What the scores mean.
        top: The largest number of tags.
        precision: Only tags that this precision is promised for, with calibrated scores. None for the best tags.

    Raises:
        UserError: If there is a precision, and the scores are not calibrated.

    Examples:
        >>> averaging = Averaging("arithmetic", {"member": 1.0})
        >>> choice(["Bark", "Meow", "Rain"], averaging, top=2)(np.array([0.25, 0.75, 0.5]))
        [('Meow', 0.75), ('Rain', 0.5)]
    """
    top = min(top, len(classes))
    if precision is None:
        return lambda scores: [(classes[number], float(scores[number])) for number in islice(_best(scores), top)]
    if averaging.calibration is None:
        raise UserError(
            "precision: expected an ensemble with calibrated scores, found uncalibrated ones; train with --folds "
            "0,1,2,3,4, or omit the precision"
        )
    curves = [averaging.calibration.curves[label] for label in classes]
    found = averaging.lowest_scores(precision)
    lowest = np.array([found.get(label, np.inf) for label in classes])

    def choose(scores: np.ndarray) -> list[tuple[str, float]]:
        (probabilities,) = calibrate(scores[None], curves)
        passed = (number for number in _best(probabilities) if scores[number] >= lowest[number])
        return [(classes[number], float(probabilities[number])) for number in islice(passed, top)]

    return choose


def never_chosen(classes: Sequence[str], averaging: Averaging, precision: float) -> list[str]:
    """Return the classes that no threshold promises a precision for."""
    found = averaging.lowest_scores(precision)
    return [label for label in classes if label not in found]


def _best(scores: np.ndarray) -> Iterator[int]:
    """Yield the numbers of all classes, best first."""
    return map(int, np.argsort(-scores, kind="stable"))
