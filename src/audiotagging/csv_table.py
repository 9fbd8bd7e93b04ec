"""Reads CSV tables of a data folder, and reports problems with file name and line number."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from audiotagging.errors import UserError
from audiotagging.files import open_file


class TableError(UserError):
    """Raised for a table that cannot be used. `problems` lists everything that is wrong, one string per problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def read_table(path: Path, columns: Sequence[str], *, may_be_empty: bool = False) -> tuple[pd.DataFrame, list[str]]:
    """Read a comma-separated table in UTF-8, with or without a byte order mark and with any line endings.

    Args:
        path: The table.
        columns: Columns that the table must have.
        may_be_empty: Whether it may have no rows.

    Returns:
        The table, with all values as text and line numbers of the file as its index, and a list of problems. Empty
        lines are left out. So are records with more or fewer fields than the header; each of them is a problem.

    Raises:
        TableError: If the file cannot be read, if a column is missing, or if no record has as many fields as the
            header.
    """
    name = path.name
    try:
        with open_file(path) as file:
            content = file.read()
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

    header = [column.strip() for column in records[0][1]]
    missing = [column for column in columns if column not in header]
    if missing:
        hint = "" if len(header) > 1 else "; separate columns by commas"
        raise TableError([f"{name} has no column {missing[0]!r}; its first line is {','.join(header)[:80]!r}{hint}"])
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise TableError([f"{name} has the column {twice[0]!r} more than once"])
    if len(records) == 1 and may_be_empty:
        return pd.DataFrame([], columns=header, dtype=object), []
    if len(records) == 1:
        raise TableError([f"{name} has no rows"])
    uneven = [
        f"{name} line {line}: expected {len(header)} fields, found {len(record)}; put quotes around several labels"
        for line, record in records[1:]
        if len(record) != len(header)
    ]
    even = [(line, record) for line, record in records[1:] if len(record) == len(header)]
    if not even:
        raise TableError(uneven)
    lines, rows = zip(*even, strict=True)
    return pd.DataFrame(rows, columns=header, index=pd.Index(lines, name="line"), dtype=object), uneven
