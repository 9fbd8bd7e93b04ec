"""Chooses the layout of a data folder by what is in it, and reads the folder."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from audiotagging.data.corrections import correct
from audiotagging.data.layouts.class_folders import read_class_folders
from audiotagging.data.layouts.clip_table import read_clip_table, tables_of_clips
from audiotagging.data.layouts.competition import FOLDERS, read_competition
from audiotagging.data.layouts.contents import Contents, shorten
from audiotagging.data.layouts.label_files import label_files_of, read_label_files
from audiotagging.data.layouts.tree import Tree, list_tree, name_of
from audiotagging.wording import counted

EXPECTED = (
    "expected a folder per class with sounds in it, a CSV table with the columns path and labels, label files of "
    "Audacity or Raven beside recordings, or the tables of FSDKaggle2019, of which train_curated.csv is missing"
)
CURATED = ("train_curated.csv", "train_curated_post_competition.csv", FOLDERS["curated"])


def read_layout(folder: Path, *, noisy: str, corrections: Sequence[str], problems: list[str]) -> Contents | None:
    """Read a data folder in whatever layout it has.

    Args:
        folder: The folder.
        noisy: The choice of noisy clips, as `audiotagging.data.dataset.read_dataset` takes it.
        corrections: Paths of tables of corrected labels, relative to the folder.
        problems: The list to which problems are added, one string each.

    Returns:
        The contents, or None if they cannot be understood.
    """
    if any((folder / name).exists() for name in CURATED):
        return read_competition(folder, noisy=noisy, corrections=corrections, problems=problems)
    tables = [folder / path for path in corrections]
    tree = list_tree(folder)
    tree = replace(tree, others=[file for file in tree.others if folder / file not in tables])
    if noisy not in ("none", "all"):
        problems.append(f"train_noisy.csv is missing, but noisy={noisy} chooses among its clips")
    contents = _read_tree(tree, problems)
    if contents is None:
        return None
    return correct(contents, tables, problems=problems)


def _read_tree(tree: Tree, problems: list[str]) -> Contents | None:
    """Read a folder by what is in it."""
    tables = tables_of_clips(tree)
    label_files = label_files_of(tree)
    if tables and label_files:
        problems.append(
            f"expected either a table of clips or label files, found {tables[0]} and {name_of(label_files[0])}; move "
            "what is not meant out of the folder"
        )
        return None
    if len(tables) > 1:
        problems.append(f"expected one table of clips, found {', '.join(tables)}; put all clips into one of them")
        return None
    if tables:
        return read_clip_table(tree, tables[0], problems=problems)
    if label_files:
        _check_mixture(tree, label_files, problems)
        return read_label_files(tree, label_files, problems=problems)
    if any(len(sound.parts) > 1 for sound in tree.sounds):
        return read_class_folders(tree, problems=problems)
    problems.append(f"{EXPECTED}; found {_found(tree)}")
    return None


def _check_mixture(tree: Tree, label_files: Sequence[PurePosixPath], problems: list[str]) -> None:
    """Check that label files are in all folders of sounds. The others may be folders of classes."""
    labelled = {file.parts[:-1][:1] for file in label_files}
    without = sorted({sound.parts[:-1][:1] for sound in tree.sounds} - labelled)
    if without:
        problems.append(
            f"expected label files beside the sounds or a folder per class, found both: {name_of(label_files[0])}, but "
            f"none in {name_of('/'.join(without[0]) or '.')}/; move what is not meant out of the folder"
        )


def _found(tree: Tree) -> str:
    """Return what is in a folder, as text."""
    found = [f"{counted(len(tree.sounds), 'sound')} in no folder"] if tree.sounds else []
    if tree.others:
        found.append(f"{counted(len(tree.others), 'other file')} ({shorten([name_of(file) for file in tree.others])})")
    return ", ".join(found) or "no files"
