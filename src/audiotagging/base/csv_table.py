"""Reads tables in text files, in whatever dialect they are, and reports problems with file name and line number.

Programs separate fields by commas, semicolons, tabs or bars, and save text in UTF-8, in UTF-16 (Excel's "Unicode text")
or in the code page of a Windows system. Excel also understands a first line `sep=;`.
"""

import codecs
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from audiotagging.base.errors import UserError
from audiotagging.base.files import open_file
from audiotagging.base.machine import check_machine

DELIMITERS = (",", ";", "\t", "|")
TRIED = 100  # lines by which the delimiter is chosen, and bytes by which the encoding is
CODE_PAGE = "cp1252"  # of Windows in western languages; text in UTF-8 is hardly ever valid by chance, so it goes first
UNKNOWN = "\ufffd"  # the replacement character of Unicode
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
MARKS = (  # byte order marks; that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class TableError(UserError):
    """Raised for a table that cannot be used. `problems` lists everything that is wrong, one string per problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Records:
    """The records of a table, with or without a header.

    Attributes:
        rows: The line of every record that is not empty, and its fields.
        delimiter: What separates the fields.
        encoding: The encoding of the file, a name that Python knows.
    """

    rows: list[tuple[int, list[str]]]
    delimiter: str
    encoding: str


def read_text(path: Path, *, name: str = "") -> tuple[str, str]:
    """Read a text file in UTF-8, in UTF-16, in UTF-32 with a byte order mark, or else in the code page of Windows.

    Args:
        path: The file.
        name: Its name for messages, if not only its last part is meant.

    Returns:
        The text, and its encoding. Bytes that the code page does not have are replaced by `UNKNOWN`.

    Raises:
        TableError: If the file cannot be read, is damaged, or is no text.
    """
    name = name or path.name
    try:
        with open_file(path) as file:
            content = file.read()
    except OSError as error:
        check_machine(error)
        raise TableError([f"{name} cannot be read: {error.strerror}"]) from error
    if content.startswith(LFS_POINTER):
        raise TableError([f"{name} is a pointer of Git LFS instead of the file: get it with git lfs pull"])
    text, encoding = _decode(content, name)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise TableError([f"{name} line {line}: expected text, found a zero byte: the file is damaged, or no text"])
    return text, encoding


def _decode(content: bytes, name: str) -> tuple[str, str]:
    """Return the text of a file, and its encoding."""
    if encoding := wide_encoding(content[:TRIED]):
        try:
            return content.decode(encoding), encoding
        except UnicodeDecodeError as error:
            problem = f"{name}: expected text in {encoding.upper()}, found that it is damaged at byte {error.start}"
            raise TableError([problem]) from error
    try:
        return content.decode(), "utf-8"
    except UnicodeDecodeError:
        return content.decode(CODE_PAGE, errors="replace"), CODE_PAGE


def wide_encoding(beginning: bytes) -> str | None:
    """Return the encoding of a text with a byte order mark, or in UTF-16 without one, from its first bytes, or None.

    In UTF-16, every other byte of a text is mostly zero.
    """
    if marked := next((encoding for mark, encoding in MARKS if beginning.startswith(mark)), None):
        return marked
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if beginning and beginning[first::2].count(0) > len(beginning) // 3 > beginning[1 - first :: 2].count(0):
            return encoding
    return None


def read_records(path: Path, *, name: str = "") -> Records:
    """Read the records of a table.

    Lines that start with `#` before the first record are left out, but for the last of them if it has as many fields as
    that record: it is then the header.

    Args:
        path: The table.
        name: Its name for messages, as for `read_text`.

    Raises:
        TableError: If the file cannot be read, is damaged, is no text, or has a field that is too large.
    """
    text, encoding = read_text(path, name=name)
    lines = list(io.StringIO(text, newline=""))
    first, delimiter = 0, None
    if lines and (match := re.match(r"\"?sep=(.)\"?\s*$", lines[0], re.IGNORECASE)):
        delimiter, first = match[1], 1
    while first < len(lines) - 1 and lines[first].startswith("#"):
        first += 1
    try:
        delimiter = delimiter or _choose_delimiter(lines[first : first + TRIED])
        rows = _parse(lines[first:], delimiter, skipped=first)
    except csv.Error as error:
        raise TableError([f"{name or path.name}: {error}; look for a quote that is not closed"]) from error
    if first and rows and lines[first - 1].startswith("#"):
        header = _parse([lines[first - 1].lstrip("# ")], delimiter, skipped=first - 1)
        if header and len(header[0][1]) == len(rows[0][1]) > 1:
            rows = header + rows
    return Records(rows, delimiter, encoding)


def _choose_delimiter(lines: list[str]) -> str:
    """Return the delimiter with which most records have as many fields as the first one, or at least several."""

    def fit(delimiter: str) -> tuple[int, int]:
        widths = [len(fields) for _, fields in _parse(lines, delimiter)]
        alike = sum(width == widths[0] > 1 for width in widths)
        return alike if alike > 1 else 0, sum(width > 1 for width in widths)

    return max(DELIMITERS, key=fit)


def _parse(lines: list[str], delimiter: str, *, skipped: int = 0) -> list[tuple[int, list[str]]]:
    """Return the line and the fields of every record that is not empty."""
    odd = sum(line.count('"') for line in lines) % 2 == 1  # then they are no quotes around fields
    reader = csv.reader(
        lines,
        delimiter=delimiter,
        skipinitialspace=any(f'{delimiter} "' in line for line in lines),
        quoting=csv.QUOTE_NONE if odd and delimiter == "\t" else csv.QUOTE_MINIMAL,
    )
    return [(skipped + reader.line_num, fields) for fields in reader if fields]


def read_table(path: Path, columns: Sequence[str], *, may_be_empty: bool = False) -> tuple[pd.DataFrame, list[str]]:
    """Read a table with a header in any dialect, in UTF-8 or UTF-16, with any line endings.

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
    found = read_records(path)
    if found.encoding == CODE_PAGE:
        with open_file(path) as file:
            line = next(number for number, line in enumerate(file, 1) if not _is_utf8(line))
        raise TableError([f"{name} line {line}: expected UTF-8, found another encoding; save it as UTF-8"])
    records = found.rows
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


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
