"""Spectrograms in Parquet: a folder of shards with one row per clip, and `rejected.csv`.

A shard has the columns `clip`, `part`, `labels`, `fold` (from the data's own table, -1 for none), `usage`, `seconds`
(without the silence at both ends, and without the padding of a short clip), `frames` and `spectrogram`. A spectrogram
has frames x 128 bytes and is time-major, so that a crop is contiguous and all rows of a part together form one tensor.
The metadata of the schema contain the version, the classes in order, and what the writer adds, such as the mel
settings. Shards have names such as `00000-of-00012.parquet`, which reveal a missing shard, and their pages have
checksums, which reveal a corrupt one. The clips of a row group all belong to the same part.

Compression, measured on 570 clips of 1 to 5 s (ESC-10, 33 kB of spectrogram each) on one core:

    codec       size   compress  decompress   read, with checksums
    none        1.00                          2.0 GB/s
    lz4          .87   1.1 GB/s  5.2 GB/s     1.5 GB/s
    zstd 1       .79    .4 GB/s  1.2 GB/s      .75 GB/s
    zstd 19      .74   7 MB/s     .7 GB/s
    PNG          .57                          (one PNG per clip)

On two cores, reading LZ4 takes 2.5 times as long as copying the same number of bytes (`make bench`). zstd would save
9 % of the size at half the speed of LZ4. PNG is smaller because it encodes differences between neighbouring pixels;
with differences between frames, zstd 1 reaches .61, but then the column would not contain the spectrogram itself. Row
groups of 1 to 4 MB are equally fast; those of 0.5 or 8 MB take a third longer. Reading one clip means reading its row
group.
"""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audiotagging.artifacts.mels import MELS
from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_folder, regular
from audiotagging.base.machine import check_machine
from audiotagging.base.tables import corrupt_table, read_csv, write_csv
from audiotagging.base.typed_json import parse_json

SCHEMA_VERSION = 4
PARTS = ("curated", "noisy", "test", "disturbance")
NEGATIVE = "Negative"  # the usage of a clip in which nothing is to be tagged
USAGES = ("", "Public", "Private", NEGATIVE)
AGAIN = "run the pipeline again, or preprocess"  # what to do about damage
SHARD = re.compile(r"\d{5}-of-\d{5}\.parquet")
ROW_GROUP_BYTES = 2 << 20
SHARD_BYTES = 256 << 20

SCHEMA = pa.schema(
    {
        "clip": pa.string(),
        "part": pa.dictionary(pa.int32(), pa.string()),
        "labels": pa.list_(pa.string()),
        "fold": pa.int8(),
        "usage": pa.string(),
        "seconds": pa.float32(),
        "frames": pa.int32(),
        "spectrogram": pa.binary(),
    }
)
CLIP_COLUMNS = [name for name in SCHEMA.names if name != "spectrogram"]


class ShardWriter:
    """Writes a folder of shards atomically.

    Use it as a context manager: the folder appears when the block ends without an error.
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
            folder: The folder to create.
            classes: All classes, in the order of the scores.
            metadata: Further metadata to store in every shard.
            shard_bytes: Number of spectrogram bytes after which a new shard starts.
        """
        self.folder = folder
        self.working = folder  # until the block starts
        self.shard_bytes = shard_bytes
        self.schema = SCHEMA.with_metadata(
            {**(metadata or {}), "version": str(SCHEMA_VERSION), "classes": json.dumps(list(classes))}
        )
        self.rows: list[dict[str, Any]] = []  # of the next row group
        self.rejected: list[dict[str, Any]] = []
        self.places: Counter[str] = Counter()  # number of clips of each part so far, including rejected ones
        self.shards: list[Path] = []
        self.shard: pq.ParquetWriter | None = None
        self.row_group_bytes = self.written_bytes = 0

    def __enter__(self) -> "ShardWriter":
        """Start to write beside the folder.

        Raises:
            UserError: If the folder to create exists and is not empty, or if `atomic_folder` raises it.
        """
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise UserError(
                f"{self.folder}: expected a folder that does not exist yet or is empty; delete it, or name another"
            )
        with ExitStack() as stack:
            self.working = stack.enter_context(atomic_folder(self.folder))
            stack.push(self._finish)
            self.block = stack.pop_all()
        return self

    def add(
        self,
        *,
        clip: str,
        part: str,
        labels: Sequence[str],
        fold: int,
        usage: str,
        seconds: float,
        spectrogram: np.ndarray,
    ) -> None:
        """Append a clip. All clips of a part must follow each other.

        Args:
            clip: Name of the clip.
            part: The part that it belongs to, one of `PARTS`.
            labels: Its labels. Empty if they are unknown.
            fold: Its fold in the data's own table, or -1.
            usage: One of `USAGES`.
            seconds: Its length without the silence at both ends. The spectrogram of a short clip lasts longer, because
                it is padded on both sides.
            spectrogram: uint8, shape (frames, 128).
        """
        assert spectrogram.dtype == np.uint8 and spectrogram.ndim == 2 and spectrogram.shape[1] == MELS
        if self.rows and (self.rows[-1]["part"] != part or self.row_group_bytes >= ROW_GROUP_BYTES):
            self._write_row_group()
        data = spectrogram.tobytes()
        self.places[part] += 1
        row = {"clip": clip, "part": part, "labels": list(labels), "fold": fold, "usage": usage, "seconds": seconds}
        self.rows.append(row | {"frames": len(spectrogram), "spectrogram": data})
        self.row_group_bytes += len(data)

    def reject(self, *, clip: str, part: str, reason: str) -> None:
        """Record a clip that cannot be used in `rejected.csv`."""
        self.rejected.append({"clip": clip, "part": part, "place": self.places[part], "reason": reason})
        self.places[part] += 1

    def __exit__(self, *error: Any) -> None:
        """Finish the shards and rename the folder, or remove it after an error."""
        self.block.__exit__(*error)

    def _finish(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is None:
            self._write_row_group()
        self._close_shard()
        if kind is not None:
            return
        for number, shard in enumerate(self.shards):
            shard.rename(self.working / f"{number:05d}-of-{len(self.shards):05d}.parquet")
        rejected = pd.DataFrame(self.rejected, columns=["clip", "part", "place", "reason"])
        write_csv(self.working / "rejected.csv", rejected)

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
        # Write an empty row group too: a folder without clips still needs a shard for the classes.
        self.shard.write_table(pa.Table.from_pylist(self.rows, self.schema))
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
    """The concatenated spectrograms of many clips.

    Attributes:
        clips: One row per clip: `clip`, `part`, `labels`, `fold`, `usage`, `seconds`, `frames`.
        frames: The frames of all clips, uint8, shape (total frames, 128).
        offsets: Clip i is `frames[offsets[i]:offsets[i + 1]]`, int64, shape (clips + 1,).
        classes: All classes, in the order of the scores.
    """

    clips: pd.DataFrame
    frames: np.ndarray
    offsets: np.ndarray
    classes: list[str]

    def __getitem__(self, row: int) -> np.ndarray:
        """Return the spectrogram of a row of `clips`: uint8, shape (frames, 128)."""
        return self.frames[self.offsets[:-1][row] : self.offsets[1:][row]]


def read_classes(folder: Path) -> list[str]:
    """Read the classes, in the order of the scores.

    Raises:
        UserError: If the folder is not a complete folder of shards of this version.
    """
    return _classes(_shard_metadata(folder))


def read_clips(folder: Path) -> pd.DataFrame:
    """Read everything but the spectrograms: one row per clip, in the order of the data set's tables.

    Raises:
        UserError: If the folder is not a complete folder of shards of this version.
    """
    return _clips(_shard_metadata(folder))


def read_fingerprint(folder: Path) -> str:
    """Read the fingerprint of the data that the spectrograms were computed from.

    Raises:
        UserError: If the folder is not a complete folder of shards of this version.
    """
    return next(iter(_shard_metadata(folder).values())).metadata.get(b"fingerprint", b"").decode(errors="replace")


def read_notes(folder: Path) -> list[str]:
    """Read the notes from checking the data set, such as which clips were left out.

    Raises:
        UserError: If the folder is not a complete folder of shards of this version.
    """
    path, metadata = next(iter(_shard_metadata(folder).items()))
    return parse_json(metadata.metadata.get(b"notes", b"[]"), list[str], source=path)


def read_rejected(folder: Path) -> pd.DataFrame:
    """Read the rejected clips: one row per clip with `clip`, `part`, `place` (its index in the part) and `reason`.

    Raises:
        UserError: If the table cannot be read or is corrupt.
    """
    path = folder / "rejected.csv"
    table = read_csv(path, {"clip": str, "part": str, "place": int, "reason": str}, key=["part", "clip"])
    if (table["place"] < 0).any():
        raise corrupt_table(path, "a place is below 0")
    return table


def read_listing(folder: Path, *, part: str) -> list[str]:
    """Return the names of all clips of a part, including rejected ones, in the order of its table.

    Raises:
        UserError: If the folder is not a complete folder of shards of this version.
    """
    clips, rejected = read_clips(folder), read_rejected(folder)
    names = list(clips["clip"][clips["part"] == part])
    for row in rejected[rejected["part"] == part].itertuples():  # sorted by their place
        names.insert(row.place, row.clip)
    return names


def read_spectrograms(
    folder: Path, *, parts: Sequence[str] | None = None, clips: Sequence[str] | None = None
) -> Spectrograms:
    """Read the spectrograms of some clips, in the order of the data set's tables.

    Only row groups that contain one of these clips are read.

    Args:
        folder: A folder of shards.
        parts: Parts to read. The default is all parts.
        clips: Names of the clips to read. The default is all clips.

    Raises:
        UserError: If the folder is not a complete folder of shards of this version.
    """
    shards = _shard_metadata(folder)
    table = _clips(shards)
    chosen = np.ones(len(table), bool)
    if parts is not None:
        chosen &= table["part"].isin(parts).to_numpy()
    if clips is not None:
        chosen &= table["clip"].isin(clips).to_numpy()
    # For every row of the folder, where its frames start among the chosen frames.
    starts = _running_sum(np.where(chosen, table["frames"], 0))
    frames = np.empty((starts[-1], MELS), np.uint8)

    def fill(path: Path, group: int, rows: slice) -> None:
        """Copy the chosen rows of a row group to `frames`."""
        column = _read(path, shards[path], ["spectrogram"], row_groups=[group])["spectrogram"]
        if not np.array_equal(pc.binary_length(column), MELS * table["frames"][rows].astype(np.int64)):
            raise _corrupt(path, "a spectrogram has more or fewer bytes than frames x mels")
        if not chosen[rows].all():
            column = column.filter(pa.array(chosen[rows]))
        start = starts[rows.start]
        for chunk in column.chunks:  # usually only one
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


def spectrogram_digests(folder: Path) -> list[bytes]:
    """Return the SHA-256 digests of all spectrograms, in the order of `read_clips`, reading one row group at a time.

    Raises:
        UserError: If the folder is not a complete folder of shards of this version.
    """
    return [
        hashlib.sha256(spectrogram.as_buffer()).digest()
        for path, metadata in _shard_metadata(folder).items()
        for group in range(metadata.num_row_groups)
        for spectrogram in _read(path, metadata, ["spectrogram"], row_groups=[group])["spectrogram"]
    ]


def _running_sum(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def _shard_metadata(folder: Path) -> dict[Path, pq.FileMetaData]:
    """Read the metadata of all shards, and check that no shard is missing and that all have this version."""
    paths = sorted(path for path in folder.glob("*.parquet") if SHARD.fullmatch(path.name))
    if not paths:
        raise UserError(f"{folder}: expected a folder of spectrograms, found no shards in it; run preprocess first")
    total = int(paths[-1].stem.split("-of-")[1])
    names, found = {f"{number:05d}-of-{total:05d}.parquet" for number in range(total)}, {path.name for path in paths}
    if more := found - names:
        raise UserError(f"{folder}: expected {total} shards, found {min(more)} too; delete what is from another run")
    if missing := names - found:
        raise UserError(f"{folder}: {len(missing)} of {total} shards are missing ({min(missing)}); {AGAIN}")
    shards = {}
    for path in paths:
        try:
            shards[path] = pq.read_metadata(regular(path))
            schema = shards[path].schema.to_arrow_schema()
            version = (schema.metadata or {}).get(b"version", b"no version").decode()
        except (pa.ArrowException, ValueError, OSError, MemoryError) as error:
            check_machine(error)
            raise _corrupt(path, error) from error
        if version != str(SCHEMA_VERSION):
            raise UserError(f"{path}: expected spectrograms of version {SCHEMA_VERSION}, found {version}; {AGAIN}")
        if schema != SCHEMA:
            raise _corrupt(path, f"its columns are {', '.join(schema.names)}")
    return shards


def _corrupt(path: Path, reason: object) -> UserError:
    return UserError(f"{path}: this shard is corrupt ({str(reason).splitlines()[0]}); {AGAIN}")


def _read(path: Path, metadata: pq.FileMetaData, columns: list[str], *, row_groups: Sequence[int]) -> pa.Table:
    try:
        with pq.ParquetFile(path, metadata=metadata, page_checksum_verification=True, pre_buffer=False) as shard:
            table = shard.read_row_groups(row_groups, columns, use_threads=False)
        table.validate(full=True)
        return table
    except (pa.ArrowException, ValueError, OSError, MemoryError) as error:
        check_machine(error)
        raise _corrupt(path, error) from error


def _classes(shards: Mapping[Path, pq.FileMetaData]) -> list[str]:
    path, metadata = next(iter(shards.items()))
    classes = parse_json(metadata.metadata.get(b"classes", b""), list[str], source=path)
    if not classes or len(set(classes)) < len(classes):
        raise _corrupt(path, "its classes are not all different")
    return classes


def _clips(shards: Mapping[Path, pq.FileMetaData]) -> pd.DataFrame:
    tables = [
        _read(path, metadata, CLIP_COLUMNS, row_groups=range(metadata.num_row_groups))
        for path, metadata in shards.items()
    ]
    table = pa.concat_tables(tables)
    clips = table.to_pandas()
    stored = sum(
        each.row_group(group).total_byte_size for each in shards.values() for group in range(each.num_row_groups)
    )
    if reason := _find_fault(table, clips, _classes(shards), stored=stored):
        raise _corrupt(next(iter(shards)).parent, reason)
    return clips.assign(part=clips["part"].astype(str), labels=[list(labels) for labels in clips["labels"]])


def _find_fault(table: pa.Table, clips: pd.DataFrame, classes: list[str], *, stored: int) -> str:
    """Return why this cannot be a table of clips with so many bytes of spectrograms, or an empty string if it can."""
    if any(column.null_count for column in [*table.columns, table["labels"].combine_chunks().flatten()]):
        return "a field is empty"
    if not clips["part"].isin(PARTS).all():
        return f"a part is none of {', '.join(PARTS)}"
    if not clips["usage"].isin(USAGES).all():
        return f"a usage is none of {', '.join(filter(None, USAGES))}"
    if clips.duplicated(["clip", "part"]).any():
        return "a clip has several rows"
    if not set(table["labels"].combine_chunks().flatten().to_pylist()) <= set(classes):
        return "a label is not one of its classes"
    if (clips["frames"] < 0).any() or MELS * clips["frames"].sum() > stored:
        return "a number of frames is below 0 or too high"
    return ""
