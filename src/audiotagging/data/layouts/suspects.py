"""Finds files that seem to have the labels but are not understood, so that folder names are never used instead."""

import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from audiotagging.base.csv_table import wide_encoding
from audiotagging.base.files import open_file, path_text
from audiotagging.base.wording import pluralize
from audiotagging.data.layouts.table_files import ALWAYS_TABLES, SUFFIXES, Table
from audiotagging.data.layouts.tree import Tree, name_of

SPREADSHEETS = (".xlsx", ".xls", ".ods")
PACKED = (".zip", ".gz", ".bz2", ".xz", ".zst")
LINKED = (*SPREADSHEETS, *SUFFIXES, *PACKED, ".json", ".parquet")  # if links to them lead nowhere
# Files beside a sound of their name: texts, and those of Praat, ELAN, Sonic Visualiser, JAMS, HTK and AviaNZ.
BESIDE = (*SUFFIXES, ".json", ".xml", ".yaml", ".textgrid", ".eaf", ".svl", ".jams", ".lab", ".data")
CODES = ("utf-8", "utf-16-le")  # of texts in spreadsheets, those since 2007 and those before
TRIED = 200  # sounds that are looked for
BEGINNING = 1 << 12  # bytes that tell texts from other files
SHORTEST = 6  # characters of a name without its ending that is not in other texts by chance
CORRUPT = (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError)


def suspects(tables: Sequence[Table], tree: Tree) -> Iterator[str]:
    """Yield what to do about files that seem to have the labels of the sounds in a data folder.

    Args:
        tables: The tables in it, none of which has both paths and labels.
        tree: Its files.
    """
    for table in tables:
        yield from _of_table(table, tree)
    lists = {table.file for table in tables if table.is_a_list}
    tabular = {table.file for table in tables if len(table.columns.header) > 1}
    for file in tree.others:
        if file not in lists | tabular and (what := _reason(tree, file)):
            yield f"{name_of(file)} may have the labels, but is {what}, or move it away if the folders are the classes"
    if found := _of_half(tree, texts_beside(tree, tree.sounds)):
        yield (
            f"{name_of(found[0])} may have the labels ({pluralize(len(found), 'such file')}), but is no label file of "
            "Audacity or Raven: save them as such, or move them away if the folders are the classes"
        )


def texts_beside(tree: Tree, sounds: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """Return the texts and annotations that are called as some sounds beside them, and are not empty."""
    named = {sound.parent / sound.stem for sound in sounds}
    found = []
    for file in tree.others:
        if file.suffix.lower() in BESIDE and not named.isdisjoint(_names_without_endings(file)):
            path = tree.folder / file
            if path.exists() and path.stat().st_size:
                found.append(file)
    return found


def _names_without_endings(file: PurePosixPath) -> list[PurePosixPath]:
    """Return `REC`, `REC.Table` and so on for `REC.Table.1.txt`, in its folder."""
    parts = file.name.split(".")
    return [file.parent / ".".join(parts[:count]) for count in range(1, len(parts))]


def _of_half(tree: Tree, texts: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """Return the texts in folders where at least half of the sounds have one."""
    sounds_in, texts_in = (Counter(file.parent for file in files) for files in (tree.sounds, texts))
    return [file for file in texts if 2 * texts_in[file.parent] >= sounds_in[file.parent]]


def _of_table(table: Table, tree: Tree) -> Iterator[str]:
    """Yield what is missing in a table that seems to have labels: by what it names, rows or columns."""
    if len(table.columns.header) < 2:
        return
    columns, away = ", ".join(table.columns.header), "or move the table away if the folders are the classes"
    if 2 * len(table.sounds) >= len(tree.sounds):
        yield (
            f"{table.name} names {len(table.sounds)} of {len(tree.sounds)} sounds, but none of its columns "
            f"({columns}) is known to hold labels: name it with --label-column, {away}"
        )
    elif (
        len(tree.sounds) - 1 <= len(table.records) <= len(tree.sounds)
        or table.seems_of_clips
        or _has_parts(table, tree)
    ):
        yield (
            f"{table.name} has {len(table.records)} rows, for {len(tree.sounds)} sounds, but names "
            f"{len(table.sounds)} of them; its columns are {columns}: name those of the paths and labels with "
            f"--path-column and --label-column, and the folder that the paths start in with --sounds, {away}"
        )


def _has_parts(table: Table, tree: Tree) -> bool:
    """Return whether the names of at least half of the sounds begin or end with a field of a table, as `FIELD_30`."""
    fields = {field.strip() for _, record in table.records for field in record if len(field.strip()) >= SHORTEST}
    tried = tree.sounds[:: len(tree.sounds) // TRIED + 1]
    cuts = [(stem, [at.start() for at in re.finditer("[_.-]", stem)]) for stem in (sound.stem for sound in tried)]
    named = [any(stem[:at] in fields or stem[at + 1 :] in fields for at in places) for stem, places in cuts]
    return 2 * sum(named) >= len(tried)


def _reason(tree: Tree, file: PurePosixPath) -> str:
    """Return why a file that seems to have labels cannot be read, and what to do, or "" if it does not seem to."""
    kind, path = file.suffix.lower(), tree.folder / file
    if not path.exists():
        return "a link to a file that is not here: get it" if kind in LINKED else ""
    if kind == ".parquet":
        return "Parquet: save it as CSV"
    if kind in PACKED:
        return "packed: unpack it" if _has_tables(path) else ""
    if kind in SPREADSHEETS:
        return "a spreadsheet: save it as CSV" if _names_sounds(_texts_of_sheets(path), tree.sounds) else ""
    if _is_text(path) and _names_sounds(_content(path), tree.sounds, shortest=SHORTEST):
        return "no table whose fields are separated by commas, semicolons, tabs or bars: save it as one"
    return ""


def _names_sounds(texts: bytes | None, sounds: Sequence[PurePosixPath], *, shortest: int = 1) -> bool:
    """Return whether texts name at least half of some sounds, or are unknown.

    Args:
        texts: The texts, or None.
        sounds: The sounds, some of which are tried.
        shortest: The characters that a name needs to be looked for without its ending.
    """
    tried = sounds[:: len(sounds) // TRIED + 1]
    names = [path_text(sound.stem if len(sound.stem) >= shortest else sound.name) for sound in tried]
    return texts is None or 2 * sum(any(name.encode(code) in texts for code in CODES) for name in names) >= len(names)


def _is_text(path: Path) -> bool:
    with open_file(path) as file:
        beginning = file.read(BEGINNING)
    return b"\0" not in beginning or wide_encoding(beginning) is not None


def _content(path: Path) -> bytes:
    with open_file(path) as file:
        return file.read()


def _texts_of_sheets(path: Path) -> bytes | None:
    """Return the texts of a spreadsheet, or None if it is corrupt. Those since 2007 are archives of XML files."""
    if path.suffix.lower() == ".xls":
        return _content(path)
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as opened:
            return b"".join(opened.read(entry) for entry in opened.infolist() if entry.filename.endswith(".xml"))
    except CORRUPT:
        return None


def _has_tables(path: Path) -> bool:
    """Return whether a packed file has a table or a spreadsheet in it, or may have one because it is corrupt."""
    names = [path.stem]
    if path.suffix.lower() == ".zip":
        try:
            with open_file(path) as file, zipfile.ZipFile(file) as opened:
                names = opened.namelist()
        except CORRUPT:
            return True
    return any(name.lower().endswith((*ALWAYS_TABLES, *SPREADSHEETS)) for name in names)
