"""What the stage `select` decides: a folder with two tables.

noisy.csv   the noisy clips to train on: `fname` and, where a judge chose them, `margin`, by how much the clip's
            lowest label outscores its highest other class. It can be given as the list of noisy clips to a later run.
folds.csv   the fold of every curated clip: `fname` and `fold`
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

DEALT_FOLDS = 5  # folds that curated clips are dealt into where their table has no column `fold`
NOISY = "noisy.csv"
FOLDS = "folds.csv"


def write_selection(folder: Path, *, folds: Mapping[str, int], noisy_clips: pd.DataFrame) -> None:
    """Write the tables into a folder that exists.

    Args:
        folder: The folder.
        folds: The fold of every curated clip.
        noisy_clips: The noisy clips to train on: `fname` and, where a judge chose them, `margin`; one row per clip.
    """
    noisy_clips.to_csv(folder / NOISY, index=False)
    pd.DataFrame({"fname": list(folds), "fold": list(folds.values())}).to_csv(folder / FOLDS, index=False)


def read_noisy_clips(folder: Path) -> pd.DataFrame:
    """Return the noisy clips to train on: `fname` and, where a judge chose them, `margin`; one row per clip."""
    return pd.read_csv(folder / NOISY, dtype={"fname": str}, keep_default_na=False)  # a clip may be called "NA"


def read_folds(folder: Path) -> dict[str, int]:
    """Return the fold of every curated clip."""
    table = pd.read_csv(folder / FOLDS, dtype={"fname": str, "fold": int}, keep_default_na=False)
    return dict(zip(table["fname"], table["fold"].tolist(), strict=True))


def with_folds(clips: pd.DataFrame, folds: Mapping[str, int]) -> pd.DataFrame:
    """Return a table of clips whose column `fold` has the folds of curated clips, and -1 for all others.

    Args:
        clips: One row per clip, with at least `clip` and `part`.
        folds: The fold of every curated clip.
    """
    curated = clips["part"] == "curated"
    fold = [folds[clip] if folded else -1 for clip, folded in zip(clips["clip"], curated, strict=True)]
    return clips.assign(fold=pd.array(fold, "int8").to_numpy())
