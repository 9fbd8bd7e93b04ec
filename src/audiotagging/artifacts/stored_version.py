"""What the champions folder stores of a version beside its ensemble and its models: its clips, and later predictions.

clips.parquet      the clips of its data, one row per clip: `clip`, `part`, `labels`, `usage`, and `trained` (whether
                   the version was trained on it)
rescored.parquet   predictions of clips that are newer than the version, in the format of its predictions.parquet
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from audiotagging.artifacts.ensemble_folder import read_ensemble
from audiotagging.artifacts.predictions import Predictions, read_predictions
from audiotagging.base.tables import check_columns, corrupt_table, read_parquet, write_parquet

CLIPS = "clips.parquet"
RESCORED = "rescored.parquet"
SCHEMA = pa.schema(
    [
        pa.field("clip", pa.string(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
        pa.field("labels", pa.list_(pa.string()), nullable=False),
        pa.field("usage", pa.string(), nullable=False),
        pa.field("trained", pa.bool_(), nullable=False),
    ]
)


def write_version_clips(folder: Path, clips: pd.DataFrame, *, noisy_clips: Collection[str]) -> None:
    """Write the clips of a version.

    All curated clips count as trained on, because every model is trained on the clips that others hold out.

    Args:
        folder: The folder of the version.
        clips: The table of clips of the spectrograms.
        noisy_clips: The noisy clips that were trained on.
    """
    trained = (clips["part"] == "curated") | ((clips["part"] == "noisy") & clips["clip"].isin(noisy_clips))
    table = clips[["clip", "part", "labels", "usage"]].assign(trained=trained)
    write_parquet(folder / CLIPS, pa.Table.from_pandas(table, SCHEMA, preserve_index=False))


def read_version_clips(folder: Path) -> pd.DataFrame | None:
    """Read the clips of a version, or return None if an earlier version of the program stored it without them.

    Raises:
        UserError: If the table is corrupt.
    """
    path = folder / CLIPS
    if not path.exists():
        return None
    table = read_parquet(path)
    check_columns(path, table, SCHEMA)
    clips = table.replace_schema_metadata().to_pandas()
    if clips.duplicated(["clip", "part"]).any():
        raise corrupt_table(path, "a clip has several rows")
    return clips.assign(labels=[list(labels) for labels in clips["labels"]])


def read_version_predictions(folder: Path) -> Predictions:
    """Read all predictions of a version: those of its run, and those of newer clips.

    Raises:
        UserError: If a file is corrupt.
    """
    first, _ = read_ensemble(folder)
    if not (folder / RESCORED).exists():
        return first
    later = read_predictions(folder / RESCORED)
    if later.classes != first.classes or set(later.members) != set(first.members):
        raise corrupt_table(folder / RESCORED, "its classes or members are not those of the version")
    return join(first, later)


def join(first: Predictions, later: Predictions) -> Predictions:
    """Join two tables of predictions by the same members. Of a clip that is in both, the first ones are kept."""
    rows = pd.concat([first.rows, later.rows], ignore_index=True)
    new = ~rows.duplicated(["clip", "part", "member", "fold"]).to_numpy()
    scores = np.concatenate([first.scores, later.scores])
    return Predictions(first.classes, rows[new].reset_index(drop=True), scores[new], list(first.members), first.unheard)
