"""AudioSet: the tables of its segments beside a folder of clips that are named after their videos.

`balanced_train_segments.csv`, `unbalanced_train_segments.csv` and `eval_segments.csv` have the columns `YTID`,
`start_seconds`, `end_seconds` and `positive_labels`, and `class_labels_indices.csv` the names of the labels
(https://research.google.com/audioset/download.html). Clips are called `YTID.wav`, `YYTID.wav` or `YTID_30.000.wav`, as
the programs that download them have it; they are the segments, so that the times are not used. Many videos are gone.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

from audiotagging.base.csv_table import TableError, read_records
from audiotagging.base.wording import pluralize
from audiotagging.data.layouts.contents import Clip, Contents, check_classes
from audiotagging.data.layouts.label_cells import split_labels
from audiotagging.data.layouts.splits import TEST, split_in
from audiotagging.data.layouts.tree import Tree, name_of

SEGMENTS = re.compile(r"(balanced_train|unbalanced_train|eval)_segments\.csv")
NAMES = "class_labels_indices.csv"
CLIP = re.compile(r"(Y?)([\w-]{11})(?:_[\d._]+)?")  # the stem of a clip: the id of its video, and perhaps times


def tables_of_segments(tree: Tree) -> list[PurePosixPath]:
    """Return the tables of segments of a data folder."""
    return [file for file in tree.others if SEGMENTS.fullmatch(file.name)]


def read_audioset(tree: Tree, tables: Sequence[PurePosixPath], *, problems: list[str]) -> Contents:
    """Read a data folder.

    Args:
        tree: Its files.
        tables: The tables of segments.
        problems: The list to which problems are added, one string each.
    """
    source = name_of(tables[0])
    named = next((file for file in tree.others if file.name == NAMES), None)
    names = {fields[1]: fields[2] for fields in _fields(tree, named, width=3, problems=problems)} if named else {}
    sounds = defaultdict(list)
    for sound in tree.sounds:
        if match := CLIP.fullmatch(sound.stem):
            sounds[match[2]].append(sound)
    clips, notes = [], []
    for file in tables:
        part = "test" if split_in(file.stem) == TEST else "curated"
        missing = 0
        for video, _, _, mids in _fields(tree, file, width=4, problems=problems):
            if video == "YTID":
                continue
            labels = [_name(names.get(mid, mid)) for mid in split_labels(mids)]
            missing += video not in sounds
            clips += [Clip(name_of(sound), part, str(tree.folder / sound), labels) for sound in sounds.pop(video, ())]
        notes.append(
            f"{name_of(file)}: column 'YTID' is used as path, column 'positive_labels' is used as labels; not used: "
            f"start_seconds, end_seconds, because clips are segments; {pluralize(missing, 'segment')} without a clip"
        )
    if names:
        notes.append(f"{NAMES} names the labels, with ' and ' instead of commas")
    else:
        notes.append(f"there is no {NAMES}, so that classes are called as in the tables, such as /m/09x0r")
    if left := sum(map(len, sounds.values())) + sum(CLIP.fullmatch(sound.stem) is None for sound in tree.sounds):
        notes.append(f"{pluralize(left, 'sound')} of no segment, left out")
    clips.sort(key=lambda clip: clip.part == "test")
    classes = sorted({label for clip in clips if clip.part == "curated" for label in clip.labels})
    check_classes(classes, source=source, problems=problems)
    known = set(classes)
    if untrained := {label for clip in clips for label in clip.labels if label not in known}:
        notes.append(f"{pluralize(len(untrained), 'label')} of test clips, which no training clip has, left out")
        for clip in clips:
            clip.labels = [label for label in clip.labels if label in known]
    return Contents(source, classes, clips, tree.notes(used={*tables, *([named] if named else [])}) + notes)


def _fields(tree: Tree, file: PurePosixPath, *, width: int, problems: list[str]) -> list[list[str]]:
    """Return the fields of the records of a table, which must all have as many."""
    try:
        rows = read_records(tree.folder / file, name=name_of(file)).rows
    except TableError as error:
        problems.extend(error.problems)
        return []
    problems += [
        f"{name_of(file)} line {line}: expected {width} fields, found {len(fields)}"
        for line, fields in rows
        if len(fields) != width
    ]
    return [fields for _, fields in rows if len(fields) == width]


def _name(label: str) -> str:
    """Return the name of a class without commas, as FSD50K writes it."""
    return re.sub(r",\s*", " and ", label)
