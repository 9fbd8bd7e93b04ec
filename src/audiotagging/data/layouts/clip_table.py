"""One table of clips: a CSV file with the columns `path`, `labels` and, if wanted, `fold`, `split` and `group`.

`path` is relative to the data folder. Several labels are separated by commas inside one quoted field. `split` is
"train" or "test", where an empty field means "train"; a test clip needs no labels and has no fold. The clips of a
`group`, such as those of one recorder, stay in one fold and on one side of the split.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import NamedTuple

from audiotagging.csv_table import TableError, read_table
from audiotagging.data.layouts.contents import FOLDS, Clip, Contents, check_classes, shorten, split_labels
from audiotagging.data.layouts.tree import Tree, name_of
from audiotagging.files import open_text
from audiotagging.wording import counted

REQUIRED, OPTIONAL = ("path", "labels"), ("fold", "split", "group")
PARTS = {"": "curated", "train": "curated", "test": "test"}  # the part that a value of `split` means


class Row(NamedTuple):
    """A row of the table, with where it is for messages."""

    where: str
    path: str
    labels: str
    fold: str = ""
    split: str = ""
    group: str = ""


def tables_of_clips(tree: Tree) -> list[str]:
    """Return the names of the CSV files beside the sounds that have the columns of a table of clips."""
    names = [file.name for file in tree.others if len(file.parts) == 1 and file.suffix.lower() == ".csv"]
    return [name for name in names if _has_columns(tree, name)]


def _has_columns(tree: Tree, name: str) -> bool:
    with open_text(tree.folder / name, errors="replace") as file:
        return set(REQUIRED) <= {column.strip(' "\n') for column in file.readline().split(",")}


def read_clip_table(tree: Tree, name: str, *, problems: list[str]) -> Contents | None:
    """Read a data folder.

    Args:
        tree: Its files.
        name: The name of the table.
        problems: The list to which problems are added, one string each.

    Returns:
        The contents, or None if the table cannot be read.
    """
    try:
        table, uneven = read_table(tree.folder / name, REQUIRED)
    except TableError as error:
        problems.extend(error.problems)
        return None
    problems.extend(uneven)
    unused = [column for column in table if column not in REQUIRED + OPTIONAL]
    problems += [
        f"{name}: the column {column!r} is not used; if it is meant to be {meant[0]!r}, rename it"
        for column in unused
        if (meant := get_close_matches(column, OPTIONAL, n=1))
    ]
    used = table.reindex(columns=[*REQUIRED, *OPTIONAL], fill_value="")
    rows = [Row(f"{name} line {line}", *(field.strip() for field in row)) for line, *row in used.itertuples()]
    clips = list(_clips(tree, rows, problems))

    classes = sorted({label for clip in clips if clip.part == "curated" for label in clip.labels})
    check_classes(classes, source=name, problems=problems)
    untrained = {label: clip for clip in clips for label in clip.labels if label not in classes}
    problems += [f"{name}: no training clip has the label {label!r} of {untrained[label].clip}" for label in untrained]
    listed = {clip.path for clip in clips}
    unlisted = [name_of(sound) for sound in tree.sounds if str(tree.folder / sound) not in listed]
    notes = tree.notes(used=[PurePosixPath(name)])
    if unused:
        notes.append(f"{name}: columns that are not used: {', '.join(unused)}")
    if unlisted:
        notes.append(f"{name}: {counted(len(unlisted), 'sound')} not listed, left out: {shorten(unlisted)}")
    return Contents(name, classes, sorted(clips, key=lambda clip: clip.part == "test"), notes)


def _clips(tree: Tree, rows: list[Row], problems: list[str]) -> Iterator[Clip]:
    """Yield the clips of the rows that can be used."""
    sounds = set(tree.sounds)
    with_folds = any(row.fold for row in rows)
    first: dict[PurePosixPath, str] = {}
    for row in rows:
        path = PurePosixPath(row.path)
        part = PARTS.get(row.split)
        labels = split_labels(row.labels)
        if not row.path:
            problem = "path is empty"
        elif path.is_absolute() or ".." in path.parts:
            problem = f"path must be relative to the data folder and inside it, found {row.path!r}"
        elif path not in sounds:
            problem = f"{row.path!r} is not a sound in the data folder"
        elif path in first:
            problem = f"{row.path} is listed already in line {first[path]}"
        elif part is None:
            problem = f"split must be train or test, found {row.split!r}; folds take the place of validation clips"
        elif part == "curated" and not labels:
            problem = "the clip has no labels"
        elif part == "test" and row.fold:
            problem = f"a test clip has no fold, found {row.fold!r}; leave the field empty, or make it a training clip"
        elif part == "curated" and with_folds and row.fold not in FOLDS:
            problem = f"fold must be a number from 0 to 127, found {row.fold!r}"
        else:
            first[path] = row.where.rpartition(" ")[2]
            fold = int(row.fold) if row.fold else -1
            yield Clip(name_of(path), part, str(tree.folder / path), labels, fold=fold, group=row.group)
            continue
        problems.append(f"{row.where}: {problem}")
