"""Reads the tables that stages wrote, in CSV and Parquet, and checks their columns."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from audiotagging.base.csv_table import TableError, read_table
from audiotagging.base.errors import UserError
from audiotagging.base.files import open_file, regular
from audiotagging.base.machine import check_machine
from audiotagging.base.spreadsheet import from_field, to_field


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table whose pages have checksums, which reveal a corrupt one."""
    pq.write_table(table, path, write_page_checksum=True)


def read_parquet(path: Path, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file.

    Args:
        path: The file.
        columns: The columns to read. The default is all of them.

    Raises:
        UserError: If it cannot be read or is corrupt.
    """
    with _opened(path) as file:
        table = file.read(columns)
        table.validate(full=True)
        return table


def row_groups(path: Path) -> Iterator[pa.Table]:
    """Read a Parquet file one row group at a time, so that memory does not grow with the file.

    Raises:
        UserError: If it cannot be read or is corrupt.
    """
    with _opened(path) as file:
        for number in range(file.num_row_groups):
            table = file.read_row_group(number)
            table.validate(full=True)
            yield table


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file, and raise a UserError if it turns out to be corrupt."""
    try:
        with pq.ParquetFile(regular(path), page_checksum_verification=True, pre_buffer=False) as file:
            yield file
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        check_machine(error)
        raise corrupt_table(path, error) from error


def check_columns(path: Path, table: pa.Table, schema: pa.Schema) -> None:
    """Check that a table has all columns of a schema. Those that the schema calls nullable may have empty fields.

    Raises:
        UserError: If a column is missing or of another type, or if it has empty fields.
    """
    for field in schema:
        if table.column_names.count(field.name) != 1:
            raise corrupt_table(path, f"{table.column_names.count(field.name)} columns are called {field.name}")
        column = table[field.name]
        if column.type != field.type:
            raise corrupt_table(path, f"its column {field.name} is of type {column.type}, not {field.type}")
        if column.null_count and not field.nullable:
            raise corrupt_table(path, f"its column {field.name} has empty fields")


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV table, with text as `audiotagging.base.spreadsheet` explains."""
    table.map(lambda value: to_field(value) if isinstance(value, str) else value).to_csv(path, index=False)


def read_csv(
    path: Path, types: Mapping[str, type], *, key: Sequence[str], optional: Collection[str] = ()
) -> pd.DataFrame:
    """Read a CSV table, which may have no rows.

    Args:
        path: The table.
        types: Its columns, each with the type of its values: `str` or `int`.
        optional: Further columns that it may have. They stay text.
        key: The columns that identify a row.

    Raises:
        UserError: If the table cannot be read or is corrupt.
    """
    try:
        table, problems = read_table(path, list(types), may_be_empty=True)
        if unknown := set(table.columns) - {*types, *optional}:
            problems.append(f"it has the unknown column {min(unknown)!r}")
        with open_file(path) as file:
            file.seek(-1, os.SEEK_END)
            last = file.read()
        if last != b"\n":
            problems.append("its last line is cut short")
        if problems:
            raise TableError(problems)
        table = table.map(from_field).astype(dict(types))
    except (ValueError, OverflowError, TableError) as error:
        raise corrupt_table(path, error) from error
    twice = table[list(key)][table.duplicated(list(key))]
    if len(twice):
        raise corrupt_table(path, f"{', '.join(twice.iloc[0])} has several rows")
    return table.reset_index(drop=True)


def corrupt_table(path: Path, reason: object) -> UserError:
    """Return an error for a table that is corrupt, with the first line of the reason."""
    first = (str(reason).splitlines() or [type(reason).__name__])[0]
    return UserError(
        f"{path}: this table is corrupt ({first[:200]}); copy it again, or run the stage that wrote it again"
    )


def read_clip_rows(path: Path, schema: pa.Schema) -> pd.DataFrame | None:
    """Read a Parquet table with one row per clip, which its columns `clip` and `part` name.

    Returns:
        The table, or None if there is no such file.

    Raises:
        UserError: If the table cannot be read or is corrupt.
    """
    if not path.exists():
        return None
    found = read_parquet(path)
    check_columns(path, found, schema)
    table = found.to_pandas()
    if table.duplicated(["clip", "part"]).any():
        raise corrupt_table(path, "a clip has several rows")
    return table
