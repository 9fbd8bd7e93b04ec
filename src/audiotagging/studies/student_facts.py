"""The file `student.json` beside a student: what it learned from an ensemble, and how it compares with it."""

from pathlib import Path
from typing import TypedDict

from audiotagging.base.typed_json import read_json

STUDENT_FACTS = "student.json"


class Estimate(TypedDict):
    """A number and its 95 % interval."""

    score: float
    low: float
    high: float


class StudentScores(TypedDict):
    """The lwlrap of a student on the labelled test clips, beside others. `results.distilled` computes it.

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


class StudentFacts(TypedDict):
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


def read_student_facts(run: Path) -> StudentFacts | None:
    """Read what a student learned. Return None where there is no student.

    Raises:
        UserError: If the file is corrupt.
    """
    path = run / STUDENT_FACTS
    return read_json(path, StudentFacts) if path.is_file() else None
