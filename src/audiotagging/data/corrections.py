"""Corrections of labels: tables with the columns `fname` and `labels`, as the page `audit.html` writes them.

The labels of a row replace those of a curated clip. A row without labels leaves the clip out.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from audiotagging.base.csv_table import TableError, read_table
from audiotagging.base.spreadsheet import from_field
from audiotagging.base.wording import pluralize
from audiotagging.data.layouts.competition_tables import LABELLED
from audiotagging.data.layouts.contents import Classes, Contents
from audiotagging.data.layouts.label_cells import split_labels


def read_corrections(
    paths: Sequence[Path], clips: Collection[str], classes: Classes, *, problems: list[str]
) -> dict[str, list[str]]:
    """Read tables of corrections.

    Args:
        paths: The tables. A later one replaces what an earlier one says of a clip.
        clips: The names of all curated clips.
        classes: The classes.
        problems: The list to which problems are added, one string each.

    Returns:
        The new labels of every corrected clip; none if the clip is to be left out.
    """
    known, corrections = set(clips), {}
    for path in paths:
        if not path.is_file():
            problems.append(f"{path}: expected a table of corrections, found no such file; put it into the data folder")
            continue
        try:
            rows, uneven = read_table(path, LABELLED)
        except TableError as error:
            problems += error.problems
            continue
        problems += uneven
        lines: dict[str, int] = {}
        for line, clip, field in zip(rows.index, *(rows[name].map(from_field) for name in LABELLED), strict=True):
            where = f"{path.name} line {line}"
            if clip not in known:
                problems.append(f"{where}: {clip!r} is not a curated clip")
            elif clip in lines:
                problems.append(f"{where}: {clip} is listed already in line {lines[clip]}")
            lines[clip] = line
            labels = split_labels(field)
            unknown = [label for label in labels if label not in classes.names]
            problems += [f"{where}: {label!r} is not a class of {classes.source}" for label in unknown]
            corrections[clip] = labels
    return corrections


def correct(contents: Contents, paths: Sequence[Path], *, problems: list[str]) -> Contents:
    """Return contents with corrected labels.

    Args:
        contents: The contents of a data folder.
        paths: The tables, as for `read_corrections`.
        problems: The list to which problems are added, one string each.
    """
    classes = Classes(contents.classes, contents.source)
    names = [clip.clip for clip in contents.clips if clip.part == "curated"]
    corrections = read_corrections(paths, names, classes, problems=problems)
    if not corrections:
        return contents
    clips = [
        replace(clip, labels=corrections[clip.clip]) if clip.clip in corrections else clip
        for clip in contents.clips
        if corrections.get(clip.clip, True)
    ]
    return replace(contents, clips=clips, notes=[*contents.notes, corrections_note(contents.source, corrections)])


def corrections_note(source: str, corrections: Mapping[str, list[str]]) -> str:
    """Return how many clips have corrected labels, and how many are left out."""
    left_out = sum(not labels for labels in corrections.values())
    return f"{source}: {pluralize(len(corrections) - left_out, 'clip')} with corrected labels, {left_out} left out"
