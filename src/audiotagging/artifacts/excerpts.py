"""Excerpts of clips to listen to: the file `excerpts.parquet` in a folder of spectrograms, if preprocess was asked.

It has one row per clip, with the columns `clip`, `start`, `seconds` and `sound`. The sounds are compressed already, so
the file is not.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audiotagging.base.tables import check_columns, corrupt_table, row_groups

EXCERPTS = "excerpts.parquet"
ROW_GROUP_CLIPS = 128  # about 2 MB
SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in {
            "clip": pa.string(),
            "start": pa.float32(),
            "seconds": pa.float32(),
            "sound": pa.binary(),
        }.items()
    ]
)


@dataclass(frozen=True)
class Excerpt:
    """A part of a clip to listen to.

    Attributes:
        start: Where it starts, in seconds from the start of the clip without the silence at both ends.
        seconds: Its length.
        sound: An Ogg file with one channel of Opus, which browsers play.
    """

    start: float
    seconds: float
    sound: bytes


class ExcerptWriter:
    """Writes the excerpts of many clips, a few at a time. Without any excerpt, there is no file.

    Use it as a context manager.
    """

    def __init__(self, folder: Path) -> None:
        """Prepare to write.

        Args:
            folder: The folder to write the file to.
        """
        self.path = folder / EXCERPTS
        self.rows: list[dict[str, Any]] = []  # of the next row group
        self.file: pq.ParquetWriter | None = None

    def __enter__(self) -> "ExcerptWriter":
        """Start to write."""
        return self

    def add(self, clip: str, excerpt: Excerpt) -> None:
        """Append the excerpt of a clip."""
        self.rows.append({"clip": clip, **vars(excerpt)})
        if len(self.rows) == ROW_GROUP_CLIPS:
            self._write_row_group()

    def __exit__(self, *_: Any) -> None:
        """Finish the file."""
        if self.rows:
            self._write_row_group()
        if self.file:
            self.file.close()

    def _write_row_group(self) -> None:
        if self.file is None:
            self.file = pq.ParquetWriter(
                self.path,
                SCHEMA,
                compression="none",
                use_dictionary=False,
                write_statistics=False,
                write_page_checksum=True,
            )
        self.file.write_table(pa.Table.from_pylist(self.rows, SCHEMA))
        self.rows = []


def read_excerpts(spectrograms: Path, clips: Collection[str]) -> dict[str, Excerpt]:
    """Read the excerpts of clips.

    Args:
        spectrograms: The output of `preprocess`.
        clips: Names of the clips.

    Returns:
        Excerpts by clip, without the clips that have none. Empty if `preprocess` kept no audio.

    Raises:
        UserError: If the file cannot be read or is corrupt.
    """
    path, wanted = spectrograms / EXCERPTS, pa.array(list(clips), pa.string())
    found: dict[str, Excerpt] = {}
    if len(wanted) == 0 or not path.exists():
        return found
    for table in row_groups(path):
        check_columns(path, table, SCHEMA)
        for row in table.filter(pc.is_in(table["clip"], wanted)).to_pylist():
            if row["clip"] in found:
                raise corrupt_table(path, f"{row['clip']} has several rows")
            if not (row["start"] >= 0 and row["seconds"] > 0):
                raise corrupt_table(path, f"the start or the length of {row['clip']} is below 0")
            found[row["clip"]] = Excerpt(row["start"], row["seconds"], row["sound"])
    return found
