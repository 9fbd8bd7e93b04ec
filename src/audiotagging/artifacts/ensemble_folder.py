"""The folder of an ensemble, which the stage `ensemble` writes.

predictions.parquet   scores of the ensemble, under the name "ensemble", and of every member, averaged over its folds
submission.csv        one row per test clip: `fname`, then the ensemble's score of every class
ensemble.json         how the members are averaged, and what their average means (`Averaging`)
"""

import math
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd

from audiotagging.artifacts.calibration import Calibration, Threshold
from audiotagging.artifacts.prediction_table import Predictions, read_predictions, write_predictions
from audiotagging.errors import UserError
from audiotagging.files import atomic_folder
from audiotagging.json_file import read_json, write_json

ENSEMBLE = "ensemble"  # the "member" under which the prediction table holds the ensemble's own scores
MEANS = ("arithmetic", "geometric", "rank")  # keys of results.ensembling.MEANS
PREDICTIONS = "predictions.parquet"
SUBMISSION = "submission.csv"
AVERAGING = "ensemble.json"


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


def write_ensemble(folder: Path, *, predictions: Predictions, submission: pd.DataFrame, averaging: Averaging) -> None:
    """Write the folder of an ensemble. It appears only when it is complete."""
    with atomic_folder(folder) as partial:
        write_predictions(partial / PREDICTIONS, predictions)
        submission.to_csv(partial / SUBMISSION, index=False)
        write_json(partial / AVERAGING, asdict(averaging))


def read_ensemble(folder: Path) -> tuple[Predictions, Averaging]:
    """Read the predictions of an ensemble and its members, and how they were averaged.

    Raises:
        UserError: If a file is corrupt, or if the two are not of the same ensemble.
    """
    predictions = read_predictions(folder / PREDICTIONS)
    averaging = read_averaging(folder, classes=predictions.classes)
    found = set(predictions.members)
    if found != {ENSEMBLE, *averaging.weights}:
        raise UserError(
            f"{folder / PREDICTIONS}: expected predictions of {', '.join([ENSEMBLE, *averaging.weights])}, which "
            f"{AVERAGING} averages, found {', '.join(sorted(found)) or 'none'}; copy both files from the same run"
        )
    return predictions, averaging


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
