"""Finds the tables among the files of a data folder, by what is in them: which of them name its sounds, and as what."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType

from audiotagging.base.csv_table import CODE_PAGE, Records, TableError, read_records
from audiotagging.data.layouts.columns import KNOWN, VAGUE, Columns, find_columns, is_header, plain_name
from audiotagging.data.layouts.reading import Reading
from audiotagging.data.layouts.sound_names import SoundNames, has_ending
from audiotagging.data.layouts.tree import Tree, name_of

ALWAYS_TABLES = (".csv", ".tsv", ".tab")
SUFFIXES = (*ALWAYS_TABLES, ".txt")
TRIED = 200  # records by which the columns are told apart


@dataclass(frozen=True)
class Table:
    """A table of the data folder.

    Attributes:
        file: Its path in the data folder.
        columns: What its columns are.
        records: The line and the fields of every record but the header.
        sounds: The sounds that it names.
        near: Names of folders in which its sounds are more likely than in others.
        missing: What it lacks of the columns that the user named.
        notes: What is worth knowing of how it was read.
    """

    file: PurePosixPath
    columns: Columns
    records: list[tuple[int, list[str]]]
    sounds: set[PurePosixPath]
    near: tuple[str, ...]
    missing: list[str]
    notes: list[str]

    @property
    def name(self) -> str:
        """The path, for messages."""
        return name_of(self.file)

    @property
    def is_of_clips(self) -> bool:
        """Whether it says of sounds in the folder, or in columns called `path` and `labels`, which labels they have."""
        is_certain = bool(self.sounds) or {"path", "labels"} <= self.columns.named
        return self.has_columns and is_certain and not self.missing

    @property
    def has_columns(self) -> bool:
        """Whether it has columns of paths and labels."""
        return {"path", "labels"} <= self.columns.used.keys()

    @property
    def seems_of_clips(self) -> bool:
        """Whether its columns have the names of those of paths and labels."""
        paths = self.columns.used.get("path", ())
        called = {plain_name(self.columns.header[place]) for place in paths}
        return "labels" in self.columns.used and bool(called) and called.isdisjoint(VAGUE)

    @property
    def is_a_list(self) -> bool:
        """Whether it has nothing but the names of sounds."""
        return len(self.columns.header) == 1 and 2 * len(self.sounds) >= len(self.records) > 0


def read_tables(
    tree: Tree,
    files: Collection[PurePosixPath],
    sounds: SoundNames,
    *,
    reading: Reading,
    near: Mapping[str, str] = MappingProxyType({}),
    problems: list[str],
) -> list[Table]:
    """Read all files that are tables. What cannot be read, or is empty, may have had labels, and is a problem.

    Args:
        tree: The files of the data folder.
        files: The files to read, of which some may be none.
        sounds: The sounds of the data folder.
        reading: The user's wishes.
        near: The folder of the sounds of a table, by its name. Otherwise they are likely in folders named like its own.
        problems: The list to which problems are added, one string each.
    """
    tables = []
    for file in files:
        if file.suffix.lower() not in SUFFIXES:
            continue
        try:
            found = read_records(tree.folder / file, name=name_of(file))
        except TableError as error:
            problems.extend(error.problems)
            continue
        likely = (*file.with_suffix("").parts, near.get(file.name, ""))
        if table := _read(file, found, sounds, reading, near=likely):
            tables.append(table)
        elif file.suffix.lower() in ALWAYS_TABLES:
            problems.append(f"{name_of(file)} is empty; expected a table, so write it again or remove it")
    return tables


def _read(
    file: PurePosixPath, found: Records, sounds: SoundNames, reading: Reading, *, near: tuple[str, ...]
) -> Table | None:
    """Make a table of the records of a file, or return None if there are none."""
    rows = [(line, fields) for line, fields in found.rows if any(field.strip() for field in fields)]
    if not rows:
        return None
    header, records = _header(rows, sounds)
    even = [fields for _, fields in records[:TRIED] if len(fields) == len(header)]
    missing: list[str] = []
    columns = find_columns(header, even, sounds, reading=reading, where=name_of(file), problems=missing)
    named = {
        sound
        for _, fields in records
        if len(fields) == len(header)
        for sound in sounds.find(columns.get(fields, "path"), near=near)
    }
    return Table(file, columns, records, named, near, missing, _notes(found, name_of(file)))


def _header(rows: list[tuple[int, list[str]]], sounds: SoundNames) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the names of the columns, which are numbers from 1 if the table has none, and the other records.

    A table has no header if its first record names a sound, and no column that is known. A record above one that names
    such columns is a title.
    """
    if len(rows) > 1 and not is_header(rows[0][1]) and len({*map(plain_name, rows[1][1])} & KNOWN) > 1:
        rows = rows[1:]
    first = [field.strip() for field in rows[0][1]]
    if not is_header(first) and any(has_ending(field) or sounds.find(field) for field in first):
        return [str(number) for number in range(1, len(first) + 1)], rows
    return first, rows[1:]


def _notes(found: Records, name: str) -> list[str]:
    if found.encoding == CODE_PAGE:
        return [
            f"{name} is not in UTF-8: it was read as Windows-1252 ({CODE_PAGE}), so look at names with accents, and "
            "save it as UTF-8 if they are wrong"
        ]
    return []
