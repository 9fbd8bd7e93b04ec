"""Finds the tables among the files of a data folder, by what is in them: which of them name its sounds, and as what."""

import csv
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from audiotagging.csv_table import CODE_PAGE, Records, read_records
from audiotagging.data.layouts.columns import VAGUE, Columns, find_columns, is_header, plain_name
from audiotagging.data.layouts.reading import Reading
from audiotagging.data.layouts.sound_names import SoundNames, has_ending
from audiotagging.data.layouts.tree import Tree, name_of
from audiotagging.files import open_file, path_text

SUFFIXES = (".csv", ".tsv", ".txt", ".tab")
SPREADSHEETS = (".xlsx", ".xls", ".ods")
CODES = ("utf-8", "utf-16-le")  # of texts in spreadsheets, those since 2007 and those before
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
        roles = set(self.columns.used)
        is_certain = bool(self.sounds) or {"path", "labels"} <= self.columns.named
        return {"path", "labels"} <= roles and is_certain and not self.missing

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
) -> list[Table]:
    """Read all files that are tables.

    Args:
        tree: The files of the data folder.
        files: The files to read, of which some may be none.
        sounds: The sounds of the data folder.
        reading: The user's wishes.
        near: The folder of the sounds of a table, by its name. Otherwise they are likely in folders named like its own.
    """
    found = (
        _read(tree.folder, file, sounds, reading, near=(*file.with_suffix("").parts, near.get(file.name, "")))
        for file in files
        if file.suffix.lower() in SUFFIXES
    )
    return [table for table in found if table]


def spreadsheets_about(tree: Tree) -> list[PurePosixPath]:
    """Return the spreadsheets that name at least half of the sounds in the folder, or cannot be looked into."""
    found = []
    for file in tree.others:
        if file.suffix.lower() in SPREADSHEETS:
            texts = _texts(tree.folder / file)
            if texts is None:
                found.append(file)
                continue
            named = [any(path_text(sound.stem).encode(code) in texts for code in CODES) for sound in tree.sounds]
            if 2 * sum(named) >= len(named) > 0:
                found.append(file)
    return found


def suspects(tables: Sequence[Table], tree: Tree) -> Iterator[str]:
    """Yield what is missing in tables that seem to have labels: by what they name, rows or columns."""
    for table in tables:
        if len(table.columns.header) < 2:
            continue
        columns, away = ", ".join(table.columns.header), "or move the table away if the folders are the classes"
        if 2 * len(table.sounds) >= len(tree.sounds):
            yield (
                f"{table.name} names {len(table.sounds)} of {len(tree.sounds)} sounds, but none of its columns "
                f"({columns}) is known to hold labels: name it with --label-column, {away}"
            )
        elif len(table.records) == len(tree.sounds) or table.seems_of_clips:
            yield (
                f"{table.name} has {len(table.records)} rows, for {len(tree.sounds)} sounds, but names "
                f"{len(table.sounds)} of them; its columns are {columns}: name those of the paths and labels with "
                f"--path-column and --label-column, and the folder that the paths start in with --sounds, {away}"
            )


def _read(
    folder: Path, file: PurePosixPath, sounds: SoundNames, reading: Reading, *, near: tuple[str, ...]
) -> Table | None:
    """Read a file, or return None if it is no table."""
    try:
        found = read_records(folder / file)
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
    rows = [(line, fields) for line, fields in found.rows if any(field.strip() for field in fields)]
    if not rows or any("\0" in field for field in rows[0][1]):
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

    A table has no header if its first record names a sound, and no column that is known.
    """
    first = [field.strip() for field in rows[0][1]]
    if not is_header(first) and any(has_ending(field) or sounds.find(field) for field in first):
        return [str(number) for number in range(1, len(first) + 1)], rows
    return first, rows[1:]


def _notes(found: Records, name: str) -> list[str]:
    if found.encoding == CODE_PAGE:
        return [f"{name} is not in UTF-8: it was read as Windows-1252 ({CODE_PAGE}), so look at names with accents"]
    return []


def _texts(path: Path) -> bytes | None:
    """Return the content of a spreadsheet, or None if it is corrupt. Those since 2007 are archives of XML files."""
    if path.suffix.lower() == ".xls":
        with open_file(path) as file:
            return file.read()
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as opened:
            return b"".join(opened.read(entry) for entry in opened.infolist() if entry.filename.endswith(".xml"))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return None
