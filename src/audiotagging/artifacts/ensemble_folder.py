"""The folder of an ensemble, which the stage `ensemble` writes.

predictions.parquet   scores of the ensemble, under the name "ensemble", and of every member, averaged over its folds
submission.csv        one row per test clip: `fname`, then the ensemble's score of every class
ensemble.json         how the members are averaged, and what their average means (`Averaging`)
"""

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from audiotagging.artifacts.averaging import AVERAGING, Averaging, read_averaging
from audiotagging.artifacts.model_folder import model_folders
from audiotagging.artifacts.predictions import Predictions, read_predictions, write_predictions
from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_folder
from audiotagging.base.typed_json import write_json

ENSEMBLE = "ensemble"  # the "member" under which the prediction table holds the ensemble's own scores
PREDICTIONS = "predictions.parquet"
SUBMISSION = "submission.csv"


def write_ensemble(folder: Path, *, predictions: Predictions, submission: pd.DataFrame, averaging: Averaging) -> None:
    """Write the folder of an ensemble. It appears only when it is complete."""
    with atomic_folder(folder) as partial:
        write_predictions(partial / PREDICTIONS, predictions)
        submission.to_csv(partial / SUBMISSION, index=False)
        write_json(partial / AVERAGING, asdict(averaging))


def ensemble_sources(folder: Path) -> list[Path]:
    """Return what determines the scores of an ensemble, from the output of a run or from its folder `models`.

    These are the folders of its models and `ensemble.json`, which may be missing. The list is empty without models.
    """
    models = folder / "models" if (folder / "models").is_dir() else folder
    found = model_folders(models)
    return [*found, *(path for path in [models.parent / AVERAGING] if found and path.exists())]


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
