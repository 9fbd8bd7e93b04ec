"""Reads a table of the data folder; what is wrong with it is told with file and line."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from audiotagging.errors import UserError


class TableError(UserError):
    """A table that cannot be used. `problems` has everything that is wrong, a line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def read_table(path: Path, columns: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Read a comma-separated table: UTF-8 with or without a byte order mark, any line ends, one row a record.

    Args:
        path: The table.
        columns: Columns that it must have.

    Returns:
        A row a record, everything as text; the index is the line in the file. Empty lines are left out.
        Problems, a line each: records of another length than the head, which are left out too.

    Raises:
        TableError: If it cannot be read, lacks a column, or has no record of the head's length.
    """
    name = path.name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TableError([f"{name} cannot be read: {error.strerror}"]) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TableError([f"{name} line {line}: expected UTF-8, found another encoding; save it as UTF-8"]) from error
    reader = csv.reader(io.StringIO(text, newline=""))
    records = []
    try:
        records = [(reader.line_num, record) for record in reader if record]
    except csv.Error as error:
        raise TableError([f"{name} line {reader.line_num}: {error}"]) from error
    if not records:
        raise TableError([f"{name} is empty; expected a first line with the columns {', '.join(columns)}"])

    head = [column.strip() for column in records[0][1]]
    missing = [column for column in columns if column not in head]
    if missing:
        hint = "" if len(head) > 1 else "; columns are separated by commas"
        raise TableError([f"{name} has no column {missing[0]!r}, its first line is {','.join(head)[:80]!r}{hint}"])
    twice = sorted({column for column in head if head.count(column) > 1})
    if twice:
        raise TableError([f"{name} has the column {twice[0]!r} more than once"])
    if len(records) == 1:
        raise TableError([f"{name} has no rows"])
    uneven = [
        f"{name} line {line}: expected {len(head)} fields, found {len(record)}; several labels need quotes around them"
        for line, record in records[1:]
        if len(record) != len(head)
    ]
    even = [(line, record) for line, record in records[1:] if len(record) == len(head)]
    if not even:
        raise TableError(uneven)
    lines, rows = zip(*even, strict=True)
    return pd.DataFrame(rows, columns=head, index=pd.Index(lines, name="line"), dtype=object), uneven
