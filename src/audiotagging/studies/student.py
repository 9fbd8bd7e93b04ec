"""Scores a student beside the ensemble that taught it, and beside networks of its size that learned labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np

from audiotagging.base.typed_json import read_json
from audiotagging.statistics.intervals import Estimate, bootstrap_systems, interval

STUDENT_METADATA = "student.json"


class StudentScores(TypedDict):
    """The lwlrap of a student on the labelled test clips, beside others. `compare_student` computes it.

    Attributes:
        clips: Number of clips.
        student: Lwlrap of the student.
        ensemble: Lwlrap of the ensemble that taught it.
        alone: Mean lwlrap of single networks of the student's size that learned labels.
        student_minus_ensemble: The difference.
        student_minus_alone: The difference.
        gain: Lwlrap of the ensemble minus `alone`.
        kept: The share of the gain that the student keeps, if that can be said.
    """

    clips: int
    student: Estimate
    ensemble: Estimate
    alone: Estimate
    student_minus_ensemble: Estimate
    student_minus_alone: Estimate
    gain: Estimate
    kept: Estimate | None


class Learned(TypedDict):
    """What a student learned.

    Attributes:
        clips: Number of clips.
        labels: Share of the labels in the targets of curated clips. The rest are the ensemble's probabilities.
    """

    clips: int
    labels: float


class StudentMetadata(TypedDict):
    """The content of `student.json`.

    Attributes:
        like: Id of the member whose network and settings the student has.
        learned: What it learned.
        times_as_fast: How many times as fast as the ensemble it is.
        scores: How it compares with the ensemble, if there are labelled test clips.
    """

    like: str
    learned: Learned
    times_as_fast: float
    scores: StudentScores | None


def read_student_metadata(run: Path) -> StudentMetadata | None:
    """Read what a student learned. Return None where there is no student.

    Raises:
        UserError: If the file is corrupt.
    """
    path = run / STUDENT_METADATA
    return read_json(path, StudentMetadata) if path.is_file() else None


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
    scores = np.vstack(
        bootstrap_systems(truth, [student, ensemble, *alone])
    )  # all clips in the first row, draws below it
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
