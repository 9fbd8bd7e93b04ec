"""Scores a student beside the ensemble that taught it, and beside networks of its size that learned labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from audiotagging.results.scoring import draw_systems, estimate


def compare_student(
    truth: np.ndarray, *, student: np.ndarray, ensemble: np.ndarray, alone: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Compare the lwlrap of a student with that of its ensemble, by a paired bootstrap over clips.

    The gain of the ensemble is its lwlrap minus the mean lwlrap of single networks of the student's size. The student
    keeps a share of it.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        student: Scores of the student, shape (clips, classes).
        ensemble: Scores of the ensemble, of the same shape.
        alone: Scores of each single network of the student's size that learned labels, each of the same shape.

    Returns:
        The number of `clips`; `student`, `ensemble` and `alone`, `student_minus_ensemble`, `student_minus_alone` and
        `gain` (ensemble minus alone), each with `score`, `low` and `high`; and `kept`, the share of the gain that the
        student keeps, in the same way, or None if the interval of the gain reaches 0, because the share then says
        nothing.
    """
    scores = np.vstack(draw_systems(truth, [student, ensemble, *alone]))  # all clips in the first row, draws below it
    taught, whole, single = scores[:, 0], scores[:, 1], scores[:, 2:].mean(axis=1)
    gain = whole - single
    found = {
        "student": taught,
        "ensemble": whole,
        "alone": single,
        "student_minus_ensemble": taught - whole,
        "student_minus_alone": taught - single,
        "gain": gain,
    }
    estimates = {name: estimate(float(values[0]), values[1:]) for name, values in found.items()}
    kept = None
    if estimates["gain"]["low"] > 0:
        share = (taught - single) / gain
        kept = estimate(float(share[0]), share[1:])
    return {"clips": len(truth)} | estimates | {"kept": kept}
