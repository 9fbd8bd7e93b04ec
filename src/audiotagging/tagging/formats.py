"""The formats that tags are written in: those of whole files, and those of windows.

`FORMATS` is the one table of them: the command `tag`, its results and the batches of the pipeline `tagging` take all
formats from it, and `serve` answers with the rows of JSON.
"""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path, PurePath
from typing import IO, Any

from audiotagging.base.errors import in_one_line
from audiotagging.base.files import path_text
from audiotagging.base.spreadsheet import shown_field
from audiotagging.sounds.audio import RATE
from audiotagging.sounds.recordings import examine
from audiotagging.tagging.windows import Tag

Rows = Iterable[tuple[Path, Tag]]
FileRows = Iterable[tuple[str, list[tuple[str, float]]]]  # a file, and its labels with their scores, the best first

COLUMNS = {"file": "string", "start": "float64", "end": "float64", "label": "string", "score": "float64"}
ROW_GROUP = 65_536  # rows that are in memory at once
RAVEN_COLUMNS = (
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Begin Path",
    "File Offset (s)",
    "Annotation",
    "Score",
)


def print_file_table(rows: FileRows) -> None:
    """Print a table for readers: the file, then one line per tag with its score and label."""
    for path, tags in rows:
        lines = [in_one_line(path), *(f"  {score:.3f}  {in_one_line(label)}" for label, score in tags)]
        print(*lines, sep="\n", flush=True)


def print_file_csv(rows: FileRows) -> None:
    """Print a CSV table with a header, as `write_csv` writes it."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "rank", "label", "score"])
    for path, tags in rows:
        for rank, (label, score) in enumerate(tags, 1):
            writer.writerow([shown_field(path, sys.stdout), rank, shown_field(label, sys.stdout), f"{score:.6g}"])


def print_file_json(rows: FileRows) -> None:
    """Print a list of objects with the keys `file` and `tags`, one per line."""
    write_objects((as_file_row(path, tags) for path, tags in rows), sys.stdout)


def write_table(rows: Rows, out: IO[str]) -> None:
    """Write a table for readers: the file, then one line per tag with its start, end, score and label."""
    for path, tags in groupby(rows, key=lambda row: row[0]):
        print(in_one_line(path_text(path)), file=out)
        for _, tag in tags:
            print(f"  {tag.start:9.2f} {tag.end:9.2f}  {tag.score:.3f}  {in_one_line(tag.label)}", file=out, flush=True)


def write_csv(rows: Rows, out: IO[str]) -> None:
    """Write a CSV table with a header, and text as `audiotagging.base.spreadsheet` explains."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for path, tag in rows:
        file, label = (shown_field(text, out) for text in (path_text(path), tag.label))
        writer.writerow([file, _seconds(tag.start), _seconds(tag.end), label, f"{tag.score:.6g}"])


def write_json(rows: Rows, out: IO[str]) -> None:
    """Write a list of objects with the keys `file`, `start`, `end`, `label` and `score`, one per line."""
    write_objects((as_row(path, tag) for path, tag in rows), out)


def write_objects(rows: Iterable[dict[str, Any]], out: IO[str]) -> None:
    """Write a JSON list with one object per line, each as soon as it is there."""
    separator = "["
    for row in rows:
        print(separator, json.dumps(row), sep="\n", end="", file=out, flush=True)
        separator = ","
    print("[]" if separator == "[" else "\n]", file=out)


def write_parquet(rows: Rows, out: IO[bytes]) -> None:
    """Write a Parquet table."""
    import pyarrow as pa  # here, because what tags with ONNX Runtime need not have it
    import pyarrow.parquet as pq

    schema = pa.schema([pa.field(name, getattr(pa, kind)(), nullable=False) for name, kind in COLUMNS.items()])
    with pq.ParquetWriter(out, schema, write_page_checksum=True) as writer:
        remaining = iter(rows)
        while group := [as_row(path, tag) for path, tag in islice(remaining, ROW_GROUP)]:
            writer.write_table(pa.Table.from_pylist(group, schema))


def write_audacity(rows: Rows, out: IO[str]) -> None:
    """Write the labels of one file for Audacity: start, end, and a text of the label and its score.

    The format is in Audacity's manual, "Importing and exporting labels"
    (manual.audacityteam.org/man/importing_and_exporting_labels.html): columns are separated by tabs, and there is no
    header.
    """
    for _, tag in rows:
        print(_seconds(tag.start), _seconds(tag.end), f"{in_one_line(tag.label)} {tag.score:.3f}", sep="\t", file=out)


def write_raven(rows: Rows, out: IO[str]) -> None:
    """Write a selection table of one file for Raven, with the columns `Annotation` and `Score`.

    The format is in the Raven Pro User's Manual, "Selection tables": columns are separated by tabs, and their names are
    in the first line. A selection has a band of frequencies, which is here what the models hear of the file.
    """
    print(*RAVEN_COLUMNS, sep="\t", file=out)
    for path, tags in groupby(rows, key=lambda row: row[0]):
        band = ("0.0", f"{min(RATE, examine(path).rate) / 2:.1f}")
        absolute = in_one_line(path_text(os.path.abspath(path)))  # noqa: PTH100 - `Path.resolve` follows links
        for number, (_, tag) in enumerate(tags, 1):
            start, end = _seconds(tag.start), _seconds(tag.end)
            fields = [number, "Spectrogram 1", 1, start, end, *band, absolute, start, in_one_line(tag.label)]
            print(*fields, f"{tag.score:.6g}", sep="\t", file=out)


@dataclass(frozen=True)
class Format:
    """A format for tags.

    Attributes:
        write: Writes the tags of windows.
        suffix: Ending of the files.
        print_files: Prints the tags of whole files. None if the format is for a file of windows alone, which is not
            printed either.
        binary: Whether it writes bytes.
    """

    write: Callable[[Rows, Any], None]
    suffix: str
    print_files: Callable[[FileRows], None] | None = None
    binary: bool = False


FORMATS = {
    "table": Format(write_table, ".txt", print_file_table),
    "csv": Format(write_csv, ".csv", print_file_csv),
    "json": Format(write_json, ".json", print_file_json),
    "parquet": Format(write_parquet, ".parquet", binary=True),
    "audacity": Format(write_audacity, ".labels.txt"),
    "raven": Format(write_raven, ".selections.txt"),
}


def write_file(path: Path, rows: Rows, *, kind: Format) -> None:
    """Write tags to a file."""
    with closing(path.open("wb") if kind.binary else path.open("w", encoding="utf-8", newline="")) as out:
        kind.write(rows, out)


def _seconds(time: float) -> str:
    return f"{time:.6f}"


def as_file_row(path: str, tags: Iterable[tuple[str, float]]) -> dict[str, Any]:
    """Return a file and its tags as JSON has them."""
    return {"file": path, "tags": [{"label": label, "score": score} for label, score in tags]}


def as_row(path: PurePath | str, tag: Tag) -> dict[str, Any]:
    """Return the values of a tag by the names of the columns."""
    values = (path_text(path), round(tag.start, 6), round(tag.end, 6), tag.label, tag.score)
    return dict(zip(COLUMNS, values, strict=True))
