"""Chooses the layout of a data folder by what is in it, and reads the folder."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from audiotagging.artifacts.selection import NOISY_CHOICES
from audiotagging.base.wording import pluralize
from audiotagging.data.corrections import correct
from audiotagging.data.layouts.audioset import read_audioset, tables_of_segments
from audiotagging.data.layouts.class_folders import read_class_folders
from audiotagging.data.layouts.clip_table import read_clip_tables, split_of, with_splits
from audiotagging.data.layouts.competition import FOLDERS, read_competition
from audiotagging.data.layouts.contents import Contents, shorten
from audiotagging.data.layouts.label_cells import spelling_notes
from audiotagging.data.layouts.label_files import label_files_of, read_label_files
from audiotagging.data.layouts.negatives import without_negatives
from audiotagging.data.layouts.public_data_sets import find_public
from audiotagging.data.layouts.reading import Reading
from audiotagging.data.layouts.scenes import meta_of_scenes, read_scenes
from audiotagging.data.layouts.sound_names import SoundNames
from audiotagging.data.layouts.split_lists import apply_lists, lists_of_splits
from audiotagging.data.layouts.suspects import suspects
from audiotagging.data.layouts.table_files import Table, read_tables
from audiotagging.data.layouts.tree import Tree, list_tree, name_of

EXPECTED = (
    "expected a folder per class with sounds in it, a table with the columns path and labels, label files of "
    "Audacity or Raven beside recordings, or the tables of FSDKaggle2019, of which train_curated.csv is missing"
)
CURATED = ("train_curated.csv", "train_curated_post_competition.csv", FOLDERS["curated"])


def read_layout(
    folder: Path, *, noisy: str, corrections: Sequence[str], reading: Reading, problems: list[str]
) -> Contents | None:
    """Read a data folder in whatever layout it has.

    Args:
        folder: The folder.
        noisy: The choice of noisy clips, as `audiotagging.data.dataset.read_dataset` takes it.
        corrections: Paths of tables of corrected labels, relative to the folder.
        reading: How the user wants it to be read.
        problems: The list to which problems are added, one string each.

    Returns:
        The contents, or None if they cannot be understood.
    """
    if any((folder / name).exists() for name in CURATED):
        contents = read_competition(folder, noisy=noisy, corrections=corrections, problems=problems)
    else:
        tables = [folder / path for path in corrections]
        tree = _with_sounds_elsewhere(list_tree(folder), reading.sounds, problems)
        if reading.table and tree.folder != folder:
            reading = replace(reading, table=str(folder.absolute() / reading.table))
        tree = replace(tree, others=[file for file in tree.others if tree.folder / file not in tables])
        if noisy not in NOISY_CHOICES:
            problems.append(f"train_noisy.csv is missing, but noisy={noisy} chooses among its clips")
        contents = _read_tree(tree, reading, problems)
        contents = contents and correct(contents, tables, problems=problems)
    if contents is None:
        return None
    contents = without_negatives(contents, reading.negatives, problems=problems)
    return replace(contents, notes=[*contents.notes, *spelling_notes(contents.classes)])


def _with_sounds_elsewhere(tree: Tree, root: str, problems: list[str]) -> Tree:
    """Return a tree with the sounds of the folder that the user named, below the data folder or elsewhere."""
    if not root:
        return tree
    folder = tree.folder / root
    if not folder.is_dir():
        problems.append(f"--sounds: expected a folder, absolute or in the data folder, found {root!r}")
        return tree
    if folder.resolve().is_relative_to(tree.folder.resolve()):
        below = PurePosixPath(folder.resolve().relative_to(tree.folder.resolve()))
        return replace(tree, sounds=[sound for sound in tree.sounds if sound.is_relative_to(below)])
    others = [PurePosixPath(tree.folder.absolute() / file) for file in tree.others]
    return replace(list_tree(folder), others=others)


def _read_tree(tree: Tree, reading: Reading, problems: list[str]) -> Contents | None:
    """Read a folder by what is in it."""
    sounds = SoundNames(tree.sounds)
    if not reading.table:
        if segments := tables_of_segments(tree):
            return read_audioset(tree, segments, problems=problems)
        if meta := meta_of_scenes(tree):
            return read_scenes(tree, meta, sounds, reading=reading, problems=problems)
        if public := find_public(tree.others, tree.sounds):
            known, files = public
            found = read_tables(tree, files, sounds, reading=reading, near=dict(known.near), problems=problems)
            if problems:
                return None
            if all(table.has_columns and known.column in ("", *table.columns.header) for table in found):
                split = [(table, split_of(table) if len(found) > 1 else "") for table in found]
                contents = read_clip_tables(tree, split, sounds, reading=reading, partial=True, problems=problems)
                return replace(contents, notes=[f"these are the tables of {known.name}", *contents.notes])
    label_files = label_files_of(tree, sounds)
    files = [file for file in tree.others if file not in set(label_files)]
    if reading.table:
        files = [file for file in tree.others if file == PurePosixPath(reading.table)]
    tables = read_tables(tree, files, sounds, reading=reading, problems=problems)
    if reading.table or reading.columns:
        return _read_named(tree, tables, sounds, reading, problems)
    chosen = [table for table in tables if table.is_of_clips]
    if chosen and label_files:
        problems.append(
            f"expected either a table of clips or label files, found {chosen[0].name} and {name_of(label_files[0])}; "
            "move what is not meant out of the folder, or name the table with --table"
        )
        return None
    if chosen:
        return _read_chosen(tree, chosen, sounds, reading, problems)
    if label_files:
        return read_label_files(tree, label_files, reading=reading, problems=problems)
    if any(len(sound.parts) > 1 for sound in tree.sounds):
        return _read_folders(tree, tables, reading, problems)
    problems.extend(suspects(tables, tree))
    problems.append(f"{EXPECTED}; found {_found(tree)}")
    return None


def _read_named(
    tree: Tree, tables: Sequence[Table], sounds: SoundNames, reading: Reading, problems: list[str]
) -> Contents | None:
    """Read the table that the user named, or those that have the columns that the user named."""
    if reading.table and not tables:
        problems.append(f"--table: expected a table in the data folder, found {reading.table!r}, which is none")
        return None
    chosen = [table for table in tables if table.is_of_clips]
    if chosen:
        return _read_chosen(tree, chosen, sounds, reading, problems)
    likeliest = max(tables, key=lambda table: (len(table.sounds), len(table.records)), default=None)
    if likeliest is None:
        problems.append(f"expected a table of clips, found {_found(tree)}")
    elif likeliest.missing:
        problems.extend(likeliest.missing)
    else:
        lacking = "labels" if "labels" not in likeliest.columns.used else "path"
        option = lacking.removesuffix("s")
        problems.append(
            f"{likeliest.name} names {len(likeliest.sounds)} of {len(tree.sounds)} sounds; its columns are "
            f"{', '.join(likeliest.columns.header)}: name that of the {lacking} with --{option}-column"
        )
    return None


def _read_chosen(
    tree: Tree, tables: Sequence[Table], sounds: SoundNames, reading: Reading, problems: list[str]
) -> Contents | None:
    """Read one table of clips, or several with different splits."""
    found = with_splits(tables)
    if found is None:
        problems.append(
            f"expected one table of clips, found {', '.join(table.name for table in tables)}; put all clips into one "
            "of them, or name one with --table"
        )
        return None
    return read_clip_tables(tree, found, sounds, reading=reading, problems=problems)


def _read_folders(tree: Tree, tables: Sequence[Table], reading: Reading, problems: list[str]) -> Contents | None:
    """Read a folder per class, unless there is a table that seems to have the labels."""
    if missing := problems or list(suspects(tables, tree)):
        problems += [problem for problem in missing if problem not in problems]
        return None
    lists = lists_of_splits(tables)
    contents = read_class_folders(tree, used={table.file for table in lists}, problems=problems)
    return apply_lists(contents, lists, tree, negatives=reading.negatives) if lists else contents


def _found(tree: Tree) -> str:
    """Return what is in a folder, as text."""
    found = [f"{pluralize(len(tree.sounds), 'sound')} in no folder"] if tree.sounds else []
    if tree.others:
        found.append(
            f"{pluralize(len(tree.others), 'other file')} ({shorten([name_of(file) for file in tree.others])})"
        )
    return ", ".join(found) or "no files"
