"""The decisions of the stage `select`, in a folder.

noisy.csv        the noisy clips to train on: `fname` and, if they were chosen by agreement, `margin`, by how much the
                 lowest score of the clip's labels exceeds the highest score of its other classes. A later run can take
                 it as its list.
folds.csv        the fold of every curated clip: `fname` and `fold`
linear.parquet   the predictions of a linear model of the same clips and folds, to compare the ensemble with

The user's choice of noisy clips to train on, which may be a list.

The stage `ingest` reads the user's data and describes the choice; the stage `select` carries it out. The description
passes between them as a parameter, so that another choice runs `select` again but does not change the spectrograms:

    {"noisy": "all"}, {"noisy": "none"}, {"noisy": "agreement"}
    {"noisy": "list", "path": PATH, "sha256": DIGEST}         a list, with a digest that changes with its content
"""

import csv
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from audiotagging.artifacts.predictions import Predictions, read_predictions
from audiotagging.base.errors import UserError
from audiotagging.base.files import open_text, sha256
from audiotagging.base.machine import check_machine
from audiotagging.base.spreadsheet import from_field
from audiotagging.base.tables import corrupt_table, read_csv, write_csv

NOISY_CHOICES = ("none", "all", "agreement")


def read_list(path: Path, noisy_clips: Sequence[str]) -> set[str]:
    """Read a list of noisy clips.

    Args:
        path: A text file with one name per line, or a table whose first column is `fname` or `idx`. `idx` is the row of
            the clip in the noisy table, counted from 0, as in `good_idx.csv` of the published recipe.
        noisy_clips: All noisy clips, in the order of the noisy table.

    Raises:
        UserError: If the list cannot be read, names a clip that is not noisy, or is empty.
    """
    try:
        with open_text(path, newline="") as lines:
            entries = [from_field(row[0]) for row in csv.reader(lines) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        check_machine(error)
        raise UserError(
            f"{path}: expected one of {', '.join(NOISY_CHOICES)} or a list of clips in the data folder as the choice "
            f"of noisy clips, found no readable list ({error})"
        ) from error
    header = entries.pop(0) if entries[:1] in (["fname"], ["idx"]) else "fname"
    clips = {str(row) if header == "idx" else clip: clip for row, clip in enumerate(noisy_clips)}
    unknown = sorted(set(entries).difference(clips))
    if unknown:
        what = "the number of a row" if header == "idx" else "a clip"
        raise UserError(f"{path.name}: {unknown[0]!r} is not {what} of the noisy table ({len(unknown)} such entries)")
    if not entries:
        raise UserError(f"{path.name}: the list is empty; choose noisy=none to train without noisy clips")
    return {clips[entry] for entry in entries}


def describe_choice(noisy: str, *, folder: Path) -> dict[str, Any]:
    """Describe a choice, as it passes from `ingest` to `select` (see this module's docstring).

    Args:
        noisy: One of `NOISY_CHOICES`, or the path of a list.
        folder: The data folder. The path may be relative to it.
    """
    if noisy in NOISY_CHOICES:
        return {"noisy": noisy}
    path = folder / noisy
    return {"noisy": "list", "path": str(path), "sha256": sha256(path)}


def read_chosen_list(choice: Mapping[str, Any], noisy_clips: Sequence[str]) -> set[str]:
    """Read the list of a choice.

    Args:
        choice: A choice that `describe_choice` returned for a list.
        noisy_clips: All noisy clips, as for `read_list`.

    Raises:
        UserError: If the list has changed since then, or if `read_list` cannot read it.
    """
    path = Path(choice["path"])
    if sha256(path) != choice["sha256"]:
        raise UserError(f"{path} has changed since ingest read it; run the pipeline again")
    return read_list(path, noisy_clips)


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
