"""Tables of clips: a row per clip with its path and labels and, if wanted, its fold, split and group.

The paths need not be written as they are (`sound_names`), nor the columns be called so (`columns`). Several labels are
in one field (`label_cells`) or in several rows. A row with a start and an end is a label in a recording, from which
clips are cut as for label files. `split` names training, validation or test clips (`splits`); a test clip needs no
labels and has no fold. The clips of a `group`, such as those of one recorder, stay in one fold and on one side of the
split.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from audiotagging.base.progress import track
from audiotagging.base.wording import pluralize
from audiotagging.data.layouts.contents import Clip, Contents, check_classes, shorten
from audiotagging.data.layouts.label_files import cut_clips, inside, outside
from audiotagging.data.layouts.reading import Reading
from audiotagging.data.layouts.sound_names import SoundNames
from audiotagging.data.layouts.splits import TEST, VALIDATION, split_in, split_of_folders, validation_note
from audiotagging.data.layouts.table_files import Table
from audiotagging.data.layouts.table_rows import Row, RowReader
from audiotagging.data.layouts.tree import Tree, name_of


def read_clip_tables(
    tree: Tree,
    tables: Sequence[tuple[Table, str]],
    sounds: SoundNames,
    *,
    reading: Reading,
    partial: bool = False,
    used: Collection[PurePosixPath] = (),
    problems: list[str],
) -> Contents:
    """Read a data folder with tables of clips.

    Args:
        tree: Its files.
        tables: The tables, and for each the split of its clips if that follows from its name, else "".
        sounds: Its sounds.
        reading: The user's wishes.
        partial: Whether sounds and labels may be missing, as in a public data set that is seldom complete.
        used: Other files that are used.
        problems: The list to which problems are added, one string each.
    """
    rows: dict[PurePosixPath, Row] = {}
    left_out: list[str] = []
    unheard: set[PurePosixPath] = set()  # sounds that end before all of their labels
    notes = tree.notes(used={*(table.file for table, _ in tables), *used})
    for table, split in tables:
        reader = RowReader(table, sounds, reading, split=split, partial=partial)
        found = reader.read()
        for row in track(found, label="read labels and recordings", total=len(found)):
            if row.sound in rows:
                reader.problems.append(f"{row.where}: {name_of(row.sound)} is in {rows[row.sound].where} too")
            rows[row.sound] = row
            if row.events:
                row.events = inside(row.events, tree.folder / row.sound, table.name, left_out)
                if not row.events:
                    unheard.add(row.sound)
        problems += reader.problems
        notes += reader.notes
    notes += outside(left_out)
    clips = [clip for row in rows.values() if row.sound not in unheard for clip in _clips(tree, row)]
    clips.sort(key=lambda clip: clip.part == "test")
    notes += validation_note(sum(row.split == VALIDATION for row in rows.values()))

    source = tables[0][0].name
    classes = sorted({label for clip in clips if clip.part == "curated" for label in clip.labels})
    if clips or not problems:
        check_classes(classes, source=source, problems=problems)
    untrained = {label: clip for clip in clips for label in clip.labels if label not in classes}
    problems += [
        f"{source}: no training clip has the label {label!r} of {untrained[label].clip}" for label in untrained
    ]
    if unlisted := [name_of(sound) for sound in tree.sounds if sound not in rows]:
        lists = source if len(tables) == 1 else "the tables"
        notes.append(f"{lists}: {pluralize(len(unlisted), 'sound')} not listed, left out: {shorten(unlisted)}")
    return Contents(source, classes, clips, notes)


def _clips(tree: Tree, row: Row) -> list[Clip]:
    """Return the clip of a sound or, if its labels have times, the clips that are cut from it."""
    part = "test" if row.split == TEST else "curated"
    if row.events:
        cut = cut_clips(tree, row.sound, row.events, part=part)
        return [replace(clip, fold=row.fold, group=row.group or clip.group, usage=row.usage) for clip in cut]
    path, name = str(tree.folder / row.sound), name_of(row.sound)
    return [Clip(name, part, path, row.labels, usage=row.usage, fold=row.fold, group=row.group)]


def split_of(table: Table) -> str:
    """Return the split that the name of a table tells, or else the folders it is in; "" if none do."""
    return split_in(table.file.stem) or split_of_folders(table.file.parts[:-1]) or ""


def with_splits(tables: Sequence[Table]) -> list[tuple[Table, str]] | None:
    """Return several tables with the splits that they are of.

    None if one is of no split, or if two of them name the same sound, so that only one may be meant.
    """
    if len(tables) == 1:
        return [(tables[0], "")]
    found = [(table, split_of(table)) for table in tables]
    times = Counter(sound for table in tables for sound in table.sounds)
    splits = {split for _, split in found}
    return found if "" not in splits and len(splits) > 1 and max(times.values(), default=0) < 2 else None
