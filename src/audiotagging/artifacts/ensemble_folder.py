"""The folder of an ensemble, which the stage `ensemble` writes.

predictions.parquet   scores of the ensemble, under the name "ensemble", and of every member, averaged over its folds
submission.csv        one row per test clip: `fname`, then the ensemble's score of every class
ensemble.json         how the members are averaged, and what their average means (`Averaging`)
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from audiotagging.artifacts.averaging import AVERAGING, Averaging, read_averaging
from audiotagging.artifacts.champions_folder import VERSIONS
from audiotagging.artifacts.model_folder import model_folders, models_folder, read_metadata, weights_path
from audiotagging.artifacts.predictions import Predictions, read_predictions, write_predictions
from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_folder, sha256
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


def ensemble_version(ensemble: Path, models: Sequence[Path]) -> str:
    """Return the version of an ensemble: the beginning of a digest of its predictions, its averages and its weights.

    Args:
        ensemble: The folder of the ensemble. Of models that were copied without it, the weights count alone.
        models: The folders of its models.
    """
    digest = hashlib.sha256()
    for path in (ensemble / PREDICTIONS, ensemble / AVERAGING):
        if path.exists():
            digest.update(sha256(path).encode())
    known = sorted(((read_metadata(model), model) for model in models), key=lambda each: each[0].name)
    for metadata, model in known:  # an earlier version recorded no digest of the weights
        digest.update((metadata.sha256 or sha256(weights_path(model))).encode())
    return digest.hexdigest()[:16]


def read_version(folder: Path) -> str:
    """Return the version of an ensemble, before it is promoted and afterwards.

    Args:
        folder: Its folder in a champions folder, which has the version for a name, or the output of a run, or the
            folder `models` of that.
    """
    if folder.parent.name == VERSIONS:
        return folder.name
    models = models_folder(folder)
    return ensemble_version(models.parent, model_folders(models))


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
