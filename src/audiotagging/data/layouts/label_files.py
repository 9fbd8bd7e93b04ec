r"""Label files beside long recordings, from Audacity or Raven. Each label becomes a clip.

Audacity exports `REC.txt` beside `REC.wav`: lines of start, end and text, separated by tabs. After a label with a band
of frequencies comes a line that starts with a backslash. The format is in Audacity's manual, "Importing and exporting
labels".

Raven writes selection tables such as `REC.Table.1.selections.txt`: columns separated by tabs, with their names in the
first line. A selection may have a row for each view of the sound, and its label is in a column that the user named. A
table about several sounds names that of each selection, and says where in it the selection begins. The format is in the
Raven Pro User's Manual, "Selection tables".

A clip reaches from `MARGIN` before the label to `MARGIN` after it, and has all labels that overlap this time. Several
labels in one text are separated by commas. A label of which less than half lies in its recording is no clip. The clips
of a recording are a group. Recordings in `DIR/test/` are for test clips.
"""

import csv
import math
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from audiotagging.data.audio import SoundError, duration
from audiotagging.data.layouts.contents import Clip, Contents, check_classes, shorten, split_labels
from audiotagging.data.layouts.tree import Tree, name_of
from audiotagging.wording import counted

SOURCE = "the label files"
MARGIN = 0.5  # seconds
NOTES = 20  # labels that are named
BEGIN, END = "Begin Time (s)", "End Time (s)"  # from the start of the first sound of the table
OFFSET = "File Offset (s)"
# What users call the column of their labels in Raven, in lower case. The last ones are BirdNET's.
LABEL_COLUMNS = ("annotation", "annotations", "label", "labels", "tag", "tags", "class", "species", "common name")


class Label(NamedTuple):
    """A label in a recording, with times in seconds, its line for messages, and the sound that the line names."""

    start: float
    end: float
    text: str
    line: int
    sound: str = ""


def label_files_of(tree: Tree) -> list[PurePosixPath]:
    """Return the text files that are label files, going by their first lines."""
    return [file for file in tree.others if file.suffix.lower() == ".txt" and _is_label_file(tree.folder / file)]


def read_label_files(tree: Tree, files: Iterable[PurePosixPath], *, problems: list[str]) -> Contents:
    """Read a data folder.

    Args:
        tree: Its files.
        files: The label files in it.
        problems: The list to which problems are added, one string each.
    """
    labels_of: dict[PurePosixPath, list[Label]] = defaultdict(list)
    notes: list[str] = []
    sounds_in: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for sound in tree.sounds:
        sounds_in[sound.parent].append(sound)
    for file in files:
        about: dict[str, list[Label]] = defaultdict(list)
        for label in _read(tree.folder / file, name=name_of(file), problems=problems):
            about[label.sound].append(label)
        for name, labels in sorted(about.items()) or [("", [])]:
            recording = _recording(file, name, beside=sounds_in[file.parent], alone=len(about) <= 1)
            if recording:
                labels_of[recording] += _inside(labels, tree.folder / recording, name_of(file), notes)
            else:
                wanted = f"the sound {name}" if name else "a sound of this name"
                problems.append(f"{name_of(file)}: expected {wanted} beside the labels, found none")

    clips = [clip for sound in sorted(labels_of) for clip in _clips(tree, sound, labels_of[sound])]
    clips.sort(key=lambda clip: clip.part == "test")
    classes = sorted({label for clip in clips if clip.part == "curated" for label in clip.labels})
    check_classes(classes, source=SOURCE, problems=problems)
    untrained = sorted({label for clip in clips for label in clip.labels} - set(classes))
    problems += [f"{SOURCE}: the label {label!r} is only in recordings of test/" for label in untrained]
    if len(notes) > NOTES:
        notes[NOTES:] = [f"and {counted(len(notes) - NOTES, 'more label')} outside of the recordings, left out"]
    notes += tree.notes(used=set(files))
    if unlabelled := [name_of(sound) for sound in tree.sounds if sound not in labels_of]:
        notes.append(f"{counted(len(unlabelled), 'sound')} without a label file, left out: {shorten(unlabelled)}")
    notes.append(
        f"{counted(len(clips), 'clip')} cut from {counted(len(labels_of), 'recording')}; each recording is a group"
    )
    return Contents(SOURCE, classes, clips, notes)


def _recording(file: PurePosixPath, name: str, *, beside: list[PurePosixPath], alone: bool) -> PurePosixPath | None:
    """Return the sound that a label file names, or that it is named after if all of its labels are about one sound."""
    found = [path for path in beside if path.name == name]
    if alone and not found:
        found = [path for path in beside if file.name.startswith(f"{path.stem}.")]
    return max(found, key=lambda path: len(path.stem), default=None)


def _inside(labels: list[Label], recording: Path, file: str, notes: list[str]) -> list[Label]:
    """Return the labels of which at least half lies in their recording, and note the others."""
    try:
        length = duration(recording)
    except SoundError:  # which is reported of its clips
        return labels
    used = []
    for label in labels:
        heard = min(label.end, length) - label.start
        if label.start >= length:
            what = f"begins at {label.start:g} s, after the end of {name_of(recording.name)} ({length:.2f} s)"
            notes.append(f"{file} line {label.line}: the label {label.text!r} {what}; left out")
        elif heard < (label.end - label.start) / 2:
            what = f"{heard:.2f} of {label.end - label.start:.2f} s of the label {label.text!r} lie in"
            notes.append(f"{file} line {label.line}: only {what} {name_of(recording.name)} ({length:.2f} s); left out")
        else:
            used.append(label)
    return used


def _clips(tree: Tree, sound: PurePosixPath, labels: list[Label]) -> list[Clip]:
    """Return the clips of a recording. Labels of the same time are one clip."""
    spans = {(round(max(0.0, label.start - MARGIN), 3), round(label.end + MARGIN, 3)) for label in labels}
    return [
        Clip(
            f"{name_of(sound)}@{start:.3f}-{end:.3f}",
            part="test" if sound.parts[0] == "test" else "curated",
            path=str(tree.folder / sound),
            labels=_heard(labels, start, end),
            group=name_of(sound),
            start=start,
            end=end,
        )
        for start, end in sorted(spans)
    ]


def _heard(labels: list[Label], start: float, end: float) -> list[str]:
    """Return the labels that overlap a time, in the order of their starts."""
    heard = [label for label in sorted(labels) if label.start < end and label.end > start]
    return list(dict.fromkeys(each for label in heard for each in split_labels(label.text)))


def _is_label_file(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        fields = file.readline().rstrip("\r\n").split("\t")
    return {BEGIN, END} <= set(fields) or (len(fields) > 1 and _time(fields[0]) >= 0 and _time(fields[1]) >= 0)


def _read(path: Path, *, name: str, problems: list[str]) -> list[Label]:
    """Read a label file of either program."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        problems.append(f"{name}: expected UTF-8, found another encoding; save it as UTF-8")
        return []
    rows = list(csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    found = _raven(rows, name, problems) if BEGIN in rows[0] else _audacity(rows)
    labels = []
    for label in found:
        if not 0 <= label.start <= label.end < math.inf:
            problems.append(f"{name} line {label.line}: expected a start and an end in seconds, found other values")
        elif not split_labels(label.text):
            problems.append(f"{name} line {label.line}: the label has no text; name the sound, or delete the label")
        else:
            labels.append(label)
    return labels


def _audacity(rows: list[list[str]]) -> list[Label]:
    used = [(line, [*row, "", "", ""]) for line, row in enumerate(rows, 1) if row and row[0] != "\\"]
    return [Label(_time(row[0]), _time(row[1]), row[2], line) for line, row in used]


def _raven(rows: list[list[str]], name: str, problems: list[str]) -> list[Label]:
    header = rows[0]
    lower = {column.lower(): column for column in header}
    text = next((lower[column] for column in LABEL_COLUMNS if column in lower), None)
    if text is None:
        problems.append(f"{name}: expected the labels in a column Annotation, found the columns {', '.join(header)}")
        return []
    labels = []
    for line, row in enumerate(rows[1:], 2):
        if row:
            fields = dict(zip(header, [*row, *[""] * len(header)], strict=False))
            start, end = _time(fields[BEGIN]), _time(fields[END])
            if OFFSET in fields:
                start, end = _time(fields[OFFSET]), _time(fields[OFFSET]) + end - start
            path = fields.get("Begin File") or fields.get("Begin Path", "")
            labels.append(Label(start, end, fields[text], line, PureWindowsPath(path).name))
    if OFFSET not in header and len({label.sound for label in labels}) > 1:
        problems.append(f"{name}: expected a column {OFFSET}, because its selections are in several sounds, found none")
    return labels


def _time(text: str) -> float:
    """Return a time in seconds, or NaN if the text is no number."""
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return math.nan
