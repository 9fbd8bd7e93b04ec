"""The level, the band and the hum of every clip: `acoustics.parquet` in the folder of the spectrograms.

Spectrograms do not show how loud a clip is, because each is scaled to its own range. The champion keeps this file, so
that new sounds can be compared with its test clips. There is none from earlier versions of the program.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from audiotagging.artifacts.acoustics import Acoustics
from audiotagging.base.tables import read_clip_rows, write_parquet

ACOUSTICS = "acoustics.parquet"

SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in {
            "clip": pa.string(),
            "part": pa.string(),
            **dict.fromkeys(Acoustics._fields, pa.float32()),
        }.items()
    ]
)


def write_acoustics(folder: Path, rows: Sequence[tuple[str, str, Acoustics]]) -> None:
    """Write the acoustics of clips to an existing folder.

    Args:
        folder: The folder.
        rows: The name, the part and the acoustics of every clip.
    """
    table = [{"clip": clip, "part": part, **acoustics._asdict()} for clip, part, acoustics in rows]
    write_parquet(folder / ACOUSTICS, pa.Table.from_pylist(table, SCHEMA))


def read_acoustics(folder: Path) -> pd.DataFrame | None:
    """Read the acoustics of clips: one row per clip, with `clip`, `part` and the fields of `Acoustics`.

    Returns:
        The table, or None if the folder has none.

    Raises:
        UserError: If the table cannot be read or is corrupt.
    """
    return read_clip_rows(folder / ACOUSTICS, SCHEMA)
