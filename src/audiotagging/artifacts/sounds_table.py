"""The digest of the sound of every clip: `sounds.parquet` in the folder of the spectrograms.

They tell two runs whether the sounds are the same, where spectrograms may differ by rounding. There are none from
earlier versions of the program.
"""

from pathlib import Path

import pandas as pd
import pyarrow as pa

from audiotagging.base.tables import read_clip_rows, write_parquet

SOUNDS = "sounds.parquet"

SCHEMA = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("clip", "part", "digest")])


def write_sounds(folder: Path, clips: pd.DataFrame) -> None:
    """Write the digests of sounds to an existing folder.

    Args:
        folder: The folder.
        clips: One row per clip: `clip`, `part` and `digest`, the SHA-256 digest of its file in hexadecimal digits.
    """
    table = pa.Table.from_pandas(clips[SCHEMA.names], SCHEMA, preserve_index=False)
    write_parquet(folder / SOUNDS, table.replace_schema_metadata())


def read_sounds(folder: Path) -> pd.DataFrame | None:
    """Read the digests of sounds: one row per clip, with `clip`, `part` and `digest`.

    Returns:
        The table, or None if the folder has none.

    Raises:
        UserError: If the table cannot be read or is corrupt.
    """
    return read_clip_rows(folder / SOUNDS, SCHEMA)
