"""The decisions of the stage `select`, in a folder.

noisy.csv        the noisy clips to train on: `fname` and, if they were chosen by agreement, `margin`, by how much the
                 lowest score of the clip's labels exceeds the highest score of its other classes. A later run can take
                 it as its list.
folds.csv        the fold of every curated clip: `fname` and `fold`
init.json        the weights to start with, if there are any (`initial_weights`)
linear.parquet   the predictions of a linear model of the same clips and folds, to compare the ensemble with
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from audiotagging.artifacts.predictions import Predictions, read_predictions
from audiotagging.base.errors import UserError
from audiotagging.base.tables import corrupt_table, read_csv, write_csv

DEALT_FOLDS = 5  # number of folds if the curated table has no column `fold`
NOISY = "noisy.csv"
FOLDS = "folds.csv"
LINEAR_PREDICTIONS = "linear.parquet"


def write_selection(folder: Path, *, folds: Mapping[str, int], noisy_clips: pd.DataFrame) -> None:
    """Write the tables to an existing folder.

    Args:
        folder: The folder.
        folds: The fold of every curated clip.
        noisy_clips: The noisy clips to train on, one row per clip: `fname` and, if they were chosen by agreement,
            `margin`.
    """
    write_csv(folder / NOISY, noisy_clips)
    write_csv(folder / FOLDS, pd.DataFrame({"fname": list(folds), "fold": list(folds.values())}))


def read_noisy_clips(folder: Path, clips: pd.DataFrame | None = None) -> pd.DataFrame:
    """Read the noisy clips to train on.

    Args:
        folder: The folder of the selection.
        clips: The table of clips of the spectrograms, which must have all of them. None checks nothing.

    Returns:
        One row per clip: `fname` and, if they were chosen by agreement, `margin` (as text).

    Raises:
        UserError: If the table cannot be read or is corrupt, or if a clip is not a noisy clip of the spectrograms.
    """
    table = read_csv(folder / NOISY, {"fname": str}, key=["fname"], optional=["margin"])
    if clips is not None:
        unknown = set(table["fname"]).difference(clips["clip"][clips["part"] == "noisy"])
        if unknown:
            raise corrupt_table(folder / NOISY, f"{min(unknown)!r} is not a noisy clip of the spectrograms")
    return table


def read_folds(folder: Path) -> dict[str, int]:
    """Read the fold of every curated clip.

    Raises:
        UserError: If the table cannot be read or is corrupt.
    """
    table = read_csv(folder / FOLDS, {"fname": str, "fold": int}, key=["fname"])
    if not table["fold"].between(0, 127).all():
        raise corrupt_table(folder / FOLDS, "a fold is not from 0 to 127")
    return dict(zip(table["fname"], table["fold"].tolist(), strict=True))


def read_linear_scores(folder: Path, predictions: Predictions) -> dict[str, pd.DataFrame]:
    """Read the scores of the linear model, for each part that it scored.

    Args:
        folder: The folder of the selection. An earlier version may have written it, without the linear model.
        predictions: The predictions of an ensemble of the same clips and folds, to check that they are.

    Returns:
        For "test" and "validation", a table of scores with a row per clip, by its name, and a column per class.

    Raises:
        UserError: If the table is corrupt, or not of the same classes and clips.
    """
    path = folder / LINEAR_PREDICTIONS
    if not (path.exists() or path.is_symlink()):
        return {}
    found = read_predictions(path)
    scores = pd.DataFrame(found.scores, index=found.rows["clip"], columns=found.classes)
    tables = {str(part): scores[(found.rows["part"] == part).to_numpy()] for part in found.rows["part"].unique()}
    expected = predictions.rows[predictions.rows["part"].isin(tables)]
    is_right = found.classes == predictions.classes and all(
        set(clips) <= set(tables[str(part)].index) for part, clips in expected.groupby("part", observed=True)["clip"]
    )
    if not is_right:
        raise UserError(
            f"{path}: expected scores of the classes and clips that the ensemble predicted, found others; use the "
            "selection and the predictions of the same run"
        )
    return tables


def unheard_classes(
    clips: pd.DataFrame, classes: Sequence[str], *, fold: int, noisy_clips: Collection[str]
) -> list[str]:
    """Return the classes that a model which holds out a fold is not trained on: all their training clips are in it.

    Args:
        clips: One row per clip, with at least `clip`, `part`, `labels` and `fold`.
        classes: The classes.
        fold: The fold that is held out, or -1 for none.
        noisy_clips: The noisy clips to train on.
    """
    trained = (clips["part"] == "curated") & ((clips["fold"] != fold) | (fold < 0))
    trained |= (clips["part"] == "noisy") & clips["clip"].isin(noisy_clips)
    heard = set(clips["labels"][trained].explode())
    return [label for label in classes if label not in heard]


def with_folds(clips: pd.DataFrame, folds: Mapping[str, int]) -> pd.DataFrame:
    """Set the column `fold` of a table of clips: the fold of each curated clip, and -1 for all other clips.

    Args:
        clips: One row per clip, with at least `clip` and `part`.
        folds: The fold of every curated clip.

    Raises:
        UserError: If a curated clip has no fold.
    """
    curated = clips["part"] == "curated"
    unknown = set(clips["clip"][curated]) - folds.keys()
    if unknown:
        raise UserError(
            f"expected a fold for each curated clip of the spectrograms, found none for {len(unknown)} of them, "
            f"such as {min(unknown)}; use the selection and the spectrograms of the same run"
        )
    fold = [folds[clip] if folded else -1 for clip, folded in zip(clips["clip"], curated, strict=True)]
    return clips.assign(fold=pd.array(fold, "int8").to_numpy())
