"""The Parquet contract between stages: a folder of shards, one row per clip, and `rejected.csv` beside them.

A shard has the columns `clip`, `part`, `labels`, `fold` (that of the data's own table, -1: none), `usage`, `frames` and
`spectrogram`: frames x 128 bytes, time-major, so that a crop is one contiguous piece and a part's rows together are one
tensor. The schema's metadata hold the version, the classes in order and what the writer adds, such as the mel settings.
Shards are called `00000-of-00012.parquet`, so that a missing one is noticed; pages have checksums, so that a damaged
one is. A row group never holds clips of two parts.

Compression and row groups, measured on 570 clips of 1 to 5 s (ESC-10, 33 kB of spectrogram each), on one core:

    codec       size   compress  decompress   read, with checksums
    none        1.00                          2.0 GB/s
    lz4          .87   1.1 GB/s  5.2 GB/s     1.5 GB/s
    zstd 1       .79    .4 GB/s  1.2 GB/s      .75 GB/s
    zstd 19      .74   7 MB/s     .7 GB/s
    PNG          .57                          (a PNG a clip)

LZ4 is read on two cores at .4 of the speed of copying as many bytes (`make bench`); zstd would save 9 % of the size at
half of LZ4's speed. PNG is smaller because it codes differences between neighbours: differences of frames under zstd 1
take .61, but then the column is no longer the spectrogram. Row groups of 1 to 4 MB are read alike, those of 0.5 or 8 MB
take a third more time; a single clip costs the reading of its row group.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from audiotagging.errors import UserError

SCHEMA_VERSION = 2
MELS = 128
ROW_GROUP_BYTES = 2 << 20
SHARD_BYTES = 256 << 20

SCHEMA = pa.schema(
    {
        "clip": pa.string(),
        "part": pa.dictionary(pa.int32(), pa.string()),
        "labels": pa.list_(pa.string()),
        "fold": pa.int8(),
        "usage": pa.string(),
        "frames": pa.int32(),
        "spectrogram": pa.binary(),
    }
)
CLIP_COLUMNS = [name for name in SCHEMA.names if name != "spectrogram"]


class ShardWriter:
    """Writes a folder of shards, beside its place until it is whole.

    Use it as a context manager. The clips go to a folder called `NAME.part`, which takes its name when the block ends
    without an error; what an earlier, killed run left there is removed first.
    """

    def __init__(
        self,
        folder: Path,
        *,
        classes: Sequence[str],
        metadata: Mapping[str, str] | None = None,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        """Prepare to write.

        Args:
            folder: The folder to make.
            classes: All classes, in the order of the scores.
            metadata: What else to note in every shard.
            shard_bytes: Spectrogram bytes after which a new shard starts.
        """
        self.folder = folder
        self.working = folder.with_name(folder.name + ".part")
        self.shard_bytes = shard_bytes
        self.schema = SCHEMA.with_metadata(
            {**(metadata or {}), "version": str(SCHEMA_VERSION), "classes": json.dumps(list(classes))}
        )
        self.rows: list[dict[str, Any]] = []  # of the row group to come
        self.rejected: list[dict[str, Any]] = []
        self.places: Counter[str] = Counter()  # clips of each part so far, rejected ones too
        self.shards: list[Path] = []
        self.shard: pq.ParquetWriter | None = None
        self.row_group_bytes = self.written_bytes = 0

    def __enter__(self) -> "ShardWriter":
        """Make the working folder.

        Raises:
            UserError: If the folder to make is there already and not empty.
        """
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise UserError(
                f"{self.folder}: expected a folder that does not exist yet or is empty; delete it or name another"
            )
        shutil.rmtree(self.working, ignore_errors=True)
        self.working.mkdir(parents=True)
        return self

    def add(
        self, *, clip: str, part: str, labels: Sequence[str], fold: int, usage: str, spectrogram: np.ndarray
    ) -> None:
        """Append a clip; clips of one part come one after the other.

        Args:
            clip: Name of the clip.
            part: The part it belongs to: "curated", "noisy" or "test".
            labels: Its labels; none where they are not known.
            fold: Its fold in the data's own table, or -1.
            usage: "Public", "Private" or "".
            spectrogram: uint8, shape (frames, 128).
        """
        assert spectrogram.dtype == np.uint8 and spectrogram.ndim == 2 and spectrogram.shape[1] == MELS
        if self.rows and (self.rows[-1]["part"] != part or self.row_group_bytes >= ROW_GROUP_BYTES):
            self._write_row_group()
        data = spectrogram.tobytes()
        self.places[part] += 1
        row = {"clip": clip, "part": part, "labels": list(labels), "fold": fold, "usage": usage}
        self.rows.append(row | {"frames": len(spectrogram), "spectrogram": data})
        self.row_group_bytes += len(data)

    def reject(self, *, clip: str, part: str, reason: str) -> None:
        """Note a clip that cannot be used, for `rejected.csv`."""
        self.rejected.append({"clip": clip, "part": part, "place": self.places[part], "reason": reason})
        self.places[part] += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Finish the shards and give the folder its name; after an error, remove what was written."""
        if kind is None:
            self._write_row_group()
        self._close_shard()
        if kind is not None:
            shutil.rmtree(self.working)
            return
        for number, shard in enumerate(self.shards):
            shard.rename(self.working / f"{number:05d}-of-{len(self.shards):05d}.parquet")
        rejected = pd.DataFrame(self.rejected, columns=["clip", "part", "place", "reason"])
        rejected.to_csv(self.working / "rejected.csv", index=False)
        self.working.replace(self.folder)

    def _write_row_group(self) -> None:
        if self.shard is None:
            self.shards.append(self.working / f"{len(self.shards):05d}.parquet")
            self.shard = pq.ParquetWriter(
                self.shards[-1],
                self.schema,
                compression="lz4",
                use_dictionary=["part", "usage"],
                write_statistics=False,
                write_page_checksum=True,
            )
        # One row group, also an empty one: a folder without a clip still has a shard that holds the classes.
        self.shard.write_table(pa.Table.from_pylist(self.rows, self.schema), row_group_size=max(1, len(self.rows)))
        self.written_bytes += self.row_group_bytes
        self.rows, self.row_group_bytes = [], 0
        if self.written_bytes >= self.shard_bytes:
            self._close_shard()

    def _close_shard(self) -> None:
        if self.shard is not None:
            self.shard.close()
        self.shard, self.written_bytes = None, 0


@dataclass(frozen=True)
class Spectrograms:
    """Spectrograms of many clips, one after the other.

    Attributes:
        clips: A row a clip: `clip`, `part`, `labels`, `fold`, `usage`, `frames`.
        frames: All frames, uint8, shape (total frames, 128).
        offsets: Clip i is `frames[offsets[i]:offsets[i + 1]]`; int64, shape (clips + 1,).
        classes: All classes, in the order of the scores.
    """

    clips: pd.DataFrame
    frames: np.ndarray
    offsets: np.ndarray
    classes: list[str]


def read_classes(folder: Path) -> list[str]:
    """Return the classes, in the order of the scores.

    Raises:
        UserError: If the folder is not a whole folder of shards of this version.
    """
    return _classes(_shard_metadata(folder))


def read_clips(folder: Path) -> pd.DataFrame:
    """Return everything but the spectrograms, a row a clip, in the order of the data set's tables.

    Raises:
        UserError: If the folder is not a whole folder of shards of this version.
    """
    return _clips(_shard_metadata(folder))


def read_fingerprint(folder: Path) -> str:
    """Return the fingerprint of the data that the spectrograms were made from.

    Raises:
        UserError: If the folder is not a whole folder of shards of this version.
    """
    return next(iter(_shard_metadata(folder).values())).metadata.get(b"fingerprint", b"").decode()


def read_notes(folder: Path) -> list[str]:
    """Return what was noted about the data set when it was checked, such as the clips left out, a line each.

    Raises:
        UserError: If the folder is not a whole folder of shards of this version.
    """
    return json.loads(next(iter(_shard_metadata(folder).values())).metadata.get(b"notes", b"[]"))


def read_rejected(folder: Path) -> pd.DataFrame:
    """Return the clips that could not be used, a row a clip: `clip`, `part`, `place` in it from 0, `reason`."""
    types = {"clip": str, "part": str, "place": int, "reason": str}
    return pd.read_csv(folder / "rejected.csv", dtype=types, keep_default_na=False)  # a clip may be called "NA"


def read_listing(folder: Path, *, part: str) -> list[str]:
    """Return the names of all clips of a part in the order of its table, those that could not be used too.

    Raises:
        UserError: If the folder is not a whole folder of shards of this version.
    """
    clips, rejected = read_clips(folder), read_rejected(folder)
    names = list(clips["clip"][clips["part"] == part])
    for row in rejected[rejected["part"] == part].itertuples():  # in the order of their places
        names.insert(row.place, row.clip)
    return names


def read_spectrograms(
    folder: Path, *, parts: Sequence[str] | None = None, clips: Sequence[str] | None = None
) -> Spectrograms:
    """Return the spectrograms of some clips, in the order of the data set's tables.

    Only row groups that hold a chosen clip are read.

    Args:
        folder: A folder of shards.
        parts: Parts to read; all where not given.
        clips: Names of the clips to read; all where not given.

    Raises:
        UserError: If the folder is not a whole folder of shards of this version.
    """
    shards = _shard_metadata(folder)
    table = _clips(shards)
    chosen = np.ones(len(table), bool)
    if parts is not None:
        chosen &= table["part"].isin(parts).to_numpy()
    if clips is not None:
        chosen &= table["clip"].isin(clips).to_numpy()
    # Where a row's frames start among the chosen ones, for every row of the folder.
    starts = _running_sum(np.where(chosen, table["frames"], 0))
    frames = np.empty((starts[-1], MELS), np.uint8)

    def fill(path: Path, group: int, rows: slice) -> None:
        """Copy the chosen rows of a row group to their place in `frames`."""
        column = _read(path, shards[path], ["spectrogram"], row_groups=[group])["spectrogram"]
        if not chosen[rows].all():
            column = column.filter(pa.array(chosen[rows]))
        start = starts[rows.start]
        for chunk in column.chunks:  # one, or few
            ends = np.frombuffer(chunk.buffers()[1], np.int32)[chunk.offset :][: len(chunk) + 1]
            data = np.frombuffer(chunk.buffers()[2], np.uint8)[ends[0] : ends[-1]].reshape(-1, MELS)
            frames[start : start + len(data)] = data
            start += len(data)
        assert start == starts[rows.stop]

    row = 0
    jobs = []
    for path, metadata in shards.items():
        for group in range(metadata.num_row_groups):
            rows = slice(row, row + metadata.row_group(group).num_rows)
            row = rows.stop
            if chosen[rows].any():
                jobs.append((path, group, rows))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda job: fill(*job), jobs))
    chosen_clips = table[chosen].reset_index(drop=True)
    return Spectrograms(chosen_clips, frames, _running_sum(chosen_clips["frames"].to_numpy()), _classes(shards))


def _running_sum(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def _shard_metadata(folder: Path) -> dict[Path, pq.FileMetaData]:
    """Return the metadata of every shard, having checked that all are there and of this version."""
    paths = sorted(folder.glob("*-of-*.parquet"))
    if not paths:
        raise UserError(f"{folder}: expected a folder of spectrograms, found no shards in it; run preprocess first")
    total = int(paths[-1].stem.split("-of-")[1])
    missing = {f"{number:05d}-of-{total:05d}.parquet" for number in range(total)} - {path.name for path in paths}
    if missing:
        raise UserError(
            f"{folder}: {len(missing)} of {total} shards are missing ({min(missing)}); run preprocess again"
        )
    shards = {}
    for path in paths:
        try:
            shards[path] = pq.read_metadata(path)
            schema = shards[path].schema.to_arrow_schema()
            version = (schema.metadata or {}).get(b"version", b"no version").decode()
        except (ValueError, OSError) as error:
            raise _damaged(path, error) from error
        if version != str(SCHEMA_VERSION):
            raise UserError(
                f"{path}: expected spectrograms of version {SCHEMA_VERSION}, found {version}; run preprocess again"
            )
        if schema != SCHEMA:
            raise _damaged(path, f"its columns are {', '.join(schema.names)}")
    return shards


def _damaged(path: Path, reason: object) -> UserError:
    return UserError(f"{path}: this shard is damaged ({str(reason).splitlines()[0]}); run preprocess again")


def _read(path: Path, metadata: pq.FileMetaData, columns: list[str], *, row_groups: Sequence[int]) -> pa.Table:
    try:
        with pq.ParquetFile(path, metadata=metadata, page_checksum_verification=True, pre_buffer=False) as shard:
            return shard.read_row_groups(row_groups, columns, use_threads=False)
    except (ValueError, OSError) as error:
        raise _damaged(path, error) from error


def _classes(shards: Mapping[Path, pq.FileMetaData]) -> list[str]:
    path, metadata = next(iter(shards.items()))
    try:
        return json.loads(metadata.metadata[b"classes"])
    except ValueError as error:
        raise _damaged(path, error) from error


def _clips(shards: Mapping[Path, pq.FileMetaData]) -> pd.DataFrame:
    tables = [
        _read(path, metadata, CLIP_COLUMNS, row_groups=range(metadata.num_row_groups))
        for path, metadata in shards.items()
    ]
    clips = pa.concat_tables(tables, promote_options="permissive").to_pandas()
    return clips.assign(part=clips["part"].astype(str), labels=[list(labels) for labels in clips["labels"]])
