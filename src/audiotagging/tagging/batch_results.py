"""The results of the pipeline `tagging`: the folder OUT, on a volume or in an object store.

settings.json                      the options that determine the tags (`Options`)
batches/BATCH/tags.parquet         start, end, label and score of every tag, sorted by file
batches/BATCH/tags.csv             the same, as the command `tag --format csv` prints it
batches/BATCH/scores.parquet       scores, level and band of some files as a whole, to compare them with other sounds
batches/BATCH/drift.json           how these files differ from the test clips of the champion, if it has any
batches/BATCH/files.parquet        the files of the batch, written last: a batch without it does not count
parts/BATCH/SHARD-NUMBER.parquet   what a shard of an unfinished batch has tagged so far

A part is one file, so it is there with all its tags or not at all. The parts of a batch are removed when the batch is
complete. What a batch that was interrupted has left in parts goes into the next one. Nothing else is ever changed:
where several batches have the same file, because the file or the champion has changed, the last one counts.
"""

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from audiotagging.artifacts.acoustics import Acoustics
from audiotagging.base.errors import UserError
from audiotagging.base.tables import check_columns, read_parquet, write_parquet
from audiotagging.base.typed_json import read_json, write_json
from audiotagging.tagging.drift import Drift, Sounds
from audiotagging.tagging.formats import FORMATS, ROW_GROUP, write_file
from audiotagging.tagging.output_folder import SETTINGS
from audiotagging.tagging.storage import State, Storage
from audiotagging.tagging.tagger import Tagged
from audiotagging.tagging.windows import Tag

BATCHES, PARTS = "batches", "parts"
BATCH = re.compile(r"\d{8}T\d{6}Z(-\d+)?")  # its name: when it began; a number is from earlier versions
BATCH_TIME = "%Y%m%dT%H%M%SZ"
FILES, SCORES, DRIFT = "files.parquet", "scores.parquet", "drift.json"
BEFORE_FILES = ("tags.parquet", "tags.csv", SCORES, DRIFT)  # what a batch has before it counts
OPEN_PARTS = 32  # that are in memory while a batch is written

FILE = [
    pa.field("file", pa.string(), nullable=False),
    pa.field("size", pa.int64(), nullable=False),  # bytes
    pa.field("modified", pa.int64(), nullable=False),  # nanoseconds since 1970
    pa.field("champion", pa.string(), nullable=False),
    pa.field("seconds", pa.float64()),
    pa.field("reason", pa.string()),  # why it cannot be read
    pa.field("note", pa.string()),  # what was not used of it
]
WHOLE = [
    pa.field("scores", pa.list_(pa.float32())),  # of the ensemble, by class
    pa.field("member_scores", pa.list_(pa.list_(pa.float32()))),  # by member and class
    *(pa.field(name, pa.float32()) for name in Acoustics._fields),
]
TAGS = pa.list_(pa.struct({"start": pa.float64(), "end": pa.float64(), "label": pa.string(), "score": pa.float64()}))
FILE_SCHEMA = pa.schema(FILE)
KNOWN_SCHEMA = pa.schema(FILE[:-1])  # batches of earlier versions have no notes
SCORE_SCHEMA = pa.schema([FILE[0], *WHOLE])
PART_SCHEMA = pa.schema([*FILE, *WHOLE, pa.field("tags", TAGS, nullable=False)])


@dataclass(frozen=True, kw_only=True)
class Options:
    """What determines the tags of a file, beside the models.

    Attributes:
        window: Length of a window in seconds.
        overlap: How many seconds of a window the next window covers too.
        merge: Whether neighbours of one label are merged.
        top: Largest number of tags per window.
        precision: The promised precision of the tags. 0 if all scores count.
    """

    window: float
    overlap: float
    merge: bool
    top: int
    precision: float


@dataclass(frozen=True, kw_only=True)
class TaggedFile:
    """A file of a batch.

    Attributes:
        file: Its name, relative to the folder of the sounds.
        state: Its size and time when it was tagged.
        champion: The version of the champion that tagged it.
        seconds: Its length. None if it cannot be read.
        reason: Why it cannot be read. None if it can.
        note: What was not used of it. None if all was.
        whole: The scores of the file as a whole, and what it is like. None for files that are not compared.
        tags: The tags of its windows.
    """

    file: str
    state: State
    champion: str
    seconds: float | None = None
    reason: str | None = None
    note: str | None = None
    whole: Tagged | None = None
    tags: list[Tag] = field(default_factory=list)


@dataclass(frozen=True)
class Known:
    """What is known of a file that was tagged before.

    Attributes:
        state: Its size and time then.
        champion: The version of the champion that tagged it.
        readable: Whether it could be read.
    """

    state: State
    champion: str
    readable: bool

    def is_up_to_date(self, state: State, champion: str) -> bool:
        """Return whether the file need not be tagged again. Another champion cannot read an unreadable file either."""
        return self.state == state and (self.champion == champion or not self.readable)


@dataclass(frozen=True)
class Counts:
    """How much there is in a batch.

    Attributes:
        files: Number of files.
        unreadable: Number of files that cannot be read.
        tags: Number of tags.
    """

    files: int
    unreadable: int
    tags: int


def check_settings(out: Storage, options: Options, *, where: str) -> None:
    """Write the options to a new folder of results, or check that it holds results of the same options.

    Args:
        out: The folder.
        options: The options.
        where: Its path or URL, for the message.

    Raises:
        UserError: If it holds anything else.
    """
    if out.state(SETTINGS) is None:
        if others := sorted(out.list()):
            raise UserError(
                f"--out: expected a new folder, an empty one or one with results of the pipeline tagging, found "
                f"{others[0]} and no {SETTINGS} in {where}; name another"
            )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, SETTINGS)
            write_json(path, asdict(options))
            out.put(SETTINGS, path)
        out.remove_leftovers()
        return
    out.remove_leftovers()
    with out.local(SETTINGS) as path:
        found = read_json(path, Options)
    for each in fields(Options):
        expected, other = getattr(options, each.name), getattr(found, each.name)
        if expected != other:
            raise UserError(
                f"--out: expected results of the same options, found --{each.name} {other} in {where}/{SETTINGS}, and "
                f"{expected} now; name another folder"
            )


def known_files(out: Storage) -> dict[str, Known]:
    """Return what is known of every file that was tagged before, by its name.

    Raises:
        UserError: If a table is corrupt.
    """
    known = _in_batches(out)
    for name in _tables(out, PARTS):
        with out.local(name) as path:
            known |= _known(path)
    return known


def has_parts(out: Storage) -> bool:
    """Return whether an earlier batch was interrupted."""
    return bool(_tables(out, PARTS))


def write_part(out: Storage, files: Sequence[TaggedFile], *, batch: str, shard: int) -> None:
    """Write what a shard has tagged since its last part.

    Args:
        out: The folder of results.
        files: The files.
        batch: Name of the batch.
        shard: Number of the shard.
    """
    prefix = f"{PARTS}/{batch}/{shard:04}-"
    number = sum(name.startswith(prefix) for name in _tables(out, f"{PARTS}/{batch}"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "part.parquet")
        write_parquet(path, pa.Table.from_pylist([_row(each) for each in files], PART_SCHEMA))
        out.put(f"{prefix}{number:06}.parquet", path)


def complete_batch(
    out: Storage, *, batch: str, champion: str, compare: Callable[[Sounds], Drift | None]
) -> tuple[Counts, Drift | None]:
    """Make a batch of everything that is in parts, and remove the parts.

    Args:
        out: The folder of results.
        batch: Name of the batch.
        champion: The version of the champion. Only scores by this one are written.
        compare: Compares the files that have scores, if there are any, with test clips.

    Returns:
        How much there is in the batch, and the result of `compare`.

    Raises:
        UserError: If a part is corrupt.
    """
    _remove_incomplete(out)
    parts = _tables(out, PARTS)
    with ExitStack() as stack:
        rows = _Rows([stack.enter_context(out.local(name)) for name in parts], written=_in_batches(out))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for kind in ("parquet", "csv"):
            write_file(folder / f"tags.{kind}", _tags(rows), kind=FORMATS[kind])
        scored = (row for row in rows if row["scores"] and row["champion"] == champion)
        _write_rows(folder / SCORES, scored, SCORE_SCHEMA)
        _write_rows(folder / FILES, rows, FILE_SCHEMA)
        scored_files = pq.read_metadata(folder / SCORES).num_rows
        drift = compare(_read_scores(folder / SCORES)) if scored_files else None
        if drift:
            write_json(folder / DRIFT, asdict(drift))
        for name in (*(each for each in BEFORE_FILES if drift or each != DRIFT), FILES):
            out.put(f"{BATCHES}/{batch}/{name}", folder / name)
        tags = pq.read_metadata(folder / "tags.parquet").num_rows
        counts = Counts(len(rows), sum(row["reason"] is not None for row in rows), tags)
    for name in parts:
        out.remove(name)
    return counts, drift


def _remove_incomplete(out: Storage) -> None:
    """Remove what is left of batches that were interrupted while they were written. Their parts are still there."""
    written = out.list(BATCHES)
    complete = {PurePosixPath(name).parent for name in written if PurePosixPath(name).name == FILES}
    for name in written:
        _, *folders, file = PurePosixPath(name).parts
        ours = len(folders) == 1 and BATCH.fullmatch(folders[0]) and file in BEFORE_FILES
        if ours and PurePosixPath(name).parent not in complete:
            out.remove(name)


class _Rows:
    """The last row of every file in some parts, sorted by file as the command `tag` sorts them.

    Rows that are in a batch already are left out: it was written, but not all of its parts were removed. Only some
    parts are in memory at once. Those of one shard are sorted, so each of them is read once in most cases.
    """

    def __init__(self, paths: Iterable[Path], *, written: Mapping[str, Known]) -> None:
        places = {
            file: (path, number)
            for path in paths
            for number, (file, known) in enumerate(_known(path).items())
            if written.get(file) != known
        }
        self._places = [places[file] for file in sorted(places, key=PurePosixPath)]
        self._read = lru_cache(OPEN_PARTS)(_read_part)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self._read(path)[number] for path, number in self._places)


def _in_batches(out: Storage) -> dict[str, Known]:
    """Return what is known from complete batches."""
    known: dict[str, Known] = {}
    for name in _tables(out, BATCHES):
        if PurePosixPath(name).name == FILES:
            with out.local(name) as path:
                known |= _known(path)
    return known


def _known(path: Path) -> dict[str, Known]:
    """Return what a table knows of its files, in their order."""
    table = read_parquet(path, columns=KNOWN_SCHEMA.names)
    check_columns(path, table, KNOWN_SCHEMA)
    return {
        row["file"]: Known(State(row["size"], row["modified"]), row["champion"], row["reason"] is None)
        for row in table.to_pylist()
    }


def _read_part(path: Path) -> list[dict[str, Any]]:
    table = read_parquet(path)
    check_columns(path, table, PART_SCHEMA)
    return table.to_pylist()


def _read_scores(path: Path) -> Sounds:
    table = read_parquet(path)
    scores, by_file = (np.array(table[name].to_pylist(), np.float32) for name in ("scores", "member_scores"))
    acoustics = table.select(list(Acoustics._fields)).to_pandas()
    return Sounds(table["file"].to_pylist(), scores, by_file.swapaxes(0, 1), acoustics)


def _tags(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[Path, Tag]]:
    return ((Path(row["file"]), Tag(**tag)) for row in rows for tag in row["tags"])


def _write_rows(path: Path, rows: Iterable[dict[str, Any]], schema: pa.Schema) -> None:
    """Write some columns of rows to a table."""
    with pq.ParquetWriter(path, schema, write_page_checksum=True) as writer:
        remaining = iter(rows)
        while group := [{name: row[name] for name in schema.names} for row in islice(remaining, ROW_GROUP)]:
            writer.write_table(pa.Table.from_pylist(group, schema))


def _row(each: TaggedFile) -> dict[str, Any]:
    """Return a file as a row of a part. Columns without a value are left out."""
    row = {name: getattr(each, name) for name in ("file", "champion", "seconds", "reason", "note")}
    row |= each.state._asdict() | {"tags": [asdict(tag) for tag in each.tags]}
    if (whole := each.whole) is not None:
        assert whole.member_scores is not None and whole.acoustics is not None
        row |= {"scores": whole.scores, "member_scores": list(whole.member_scores), **whole.acoustics._asdict()}
    return row


def _tables(out: Storage, folder: str) -> list[str]:
    """Return the Parquet files in a folder of OUT, oldest first."""
    return sorted((name for name in out.list(folder) if name.endswith(".parquet")), key=PurePosixPath)
