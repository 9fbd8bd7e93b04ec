"""Scores a student beside the ensemble that taught it, and beside networks of its size that learned labels."""

from collections.abc import Sequence

import numpy as np

from audiotagging.statistics.bootstrap import interval
from audiotagging.statistics.intervals import draw_systems
from audiotagging.studies.student_facts import Estimate, StudentScores


def compare_student(
    truth: np.ndarray, *, student: np.ndarray, ensemble: np.ndarray, alone: Sequence[np.ndarray]
) -> StudentScores:
    """Compare the lwlrap of a student with that of its ensemble, by a paired bootstrap over clips.

    The gain of the ensemble is its lwlrap minus the mean lwlrap of single networks of the student's size. The student
    keeps a share of it.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        student: Scores of the student, shape (clips, classes).
        ensemble: Scores of the ensemble, of the same shape.
        alone: Scores of each single network of the student's size that learned labels, each of the same shape.

    Returns:
        The comparison. The share of the gain that the student keeps is None if the interval of the gain reaches 0,
        because it then says nothing.
    """
    scores = np.vstack(draw_systems(truth, [student, ensemble, *alone]))  # all clips in the first row, draws below it
    taught, whole, single = scores[:, 0], scores[:, 1], scores[:, 2:].mean(axis=1)
    gain = whole - single
    gained = _estimate(gain)
    return StudentScores(
        clips=len(truth),
        student=_estimate(taught),
        ensemble=_estimate(whole),
        alone=_estimate(single),
        student_minus_ensemble=_estimate(taught - whole),
        student_minus_alone=_estimate(taught - single),
        gain=gained,
        kept=_estimate((taught - single) / gain) if gained["low"] > 0 else None,
    )


def _estimate(values: np.ndarray) -> Estimate:
    """Return the first value, and the interval of the others, which are draws of it."""
    low, high = interval(values[1:])
    return Estimate(score=float(values[0]), low=low, high=high)
