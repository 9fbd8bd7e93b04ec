r"""Label files beside long recordings, from Audacity or Raven. Each label becomes a clip.

Audacity exports `REC.txt` beside `REC.wav`: lines of start, end and text, separated by tabs. After a label with a band
of frequencies comes a line that starts with a backslash. The format is in Audacity's manual, "Importing and exporting
labels".

Raven writes selection tables such as `REC.Table.1.selections.txt`: columns separated by tabs, with their names in the
first line. A selection may have a row for each view of the sound, and its label is in a column that the user named. A
table about several sounds names that of each selection, and says where in it the selection begins. The format is in the
Raven Pro User's Manual, "Selection tables".

The labels of URBAN-SED and of DCASE's challenges are like Audacity's. They may have a fourth column: how sure the label
is. They may be in a folder of their own, such as `annotations/train/` beside `audio/train/`.

A clip reaches from `MARGIN` before the label to `MARGIN` after it, and has all labels that overlap this time. Several
labels in one text are separated by commas. A label of which less than half lies in its recording is no clip. The clips
of a recording are a group. Recordings in a folder `test/` are for test clips.
"""

import csv
import io
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from audiotagging.csv_table import CODE_PAGE, read_records, read_text
from audiotagging.data.audio import SoundError, duration
from audiotagging.data.layouts.columns import NAMES, plain_name
from audiotagging.data.layouts.contents import Clip, Contents, check_classes, shorten
from audiotagging.data.layouts.label_cells import check_separators, split_labels
from audiotagging.data.layouts.reading import Reading
from audiotagging.data.layouts.sound_names import SoundNames
from audiotagging.data.layouts.splits import TEST, VALIDATION, VALIDATION_FOLD, split_of_folders, validation_note
from audiotagging.data.layouts.tree import Tree, name_of
from audiotagging.files import open_file
from audiotagging.progress import track
from audiotagging.wording import counted

SOURCE = "the label files"
MARGIN = 0.5  # seconds
NOTES = 20  # labels that are named
SUFFIXES = (".txt", ".tsv", ".csv", ".tab")
# Columns of Raven as `plain_name` writes them. Times are from the start of the first sound of the table.
OFFSET, FILE, PATH, SCORE = "file_offset", "begin_file", "begin_path", "score"
# What users call the column of their labels in Raven. The last ones are BirdNET's, and those of DCASE's challenges.
LABEL_COLUMNS = (
    *("annotation", "annotations", "label", "labels", "tag", "tags", "class", "species", "common_name"),
    *("event_label", "event_labels"),
)


class Label(NamedTuple):
    """A label in a recording.

    Attributes:
        start: Where it begins, in seconds.
        end: Where it ends, in seconds.
        text: What is heard.
        line: Its line, for messages.
        sound: The name of the sound, if the line has it.
        certainty: How sure it is, if the line says so.
    """

    start: float
    end: float
    text: str
    line: int
    sound: str = ""
    certainty: str = ""


def label_files_of(tree: Tree) -> list[PurePosixPath]:
    """Return the text files that are label files, going by their first lines."""
    return [file for file in tree.others if file.suffix.lower() in SUFFIXES and _is_label_file(tree.folder / file)]


def read_label_files(tree: Tree, files: Sequence[PurePosixPath], *, reading: Reading, problems: list[str]) -> Contents:
    """Read a data folder.

    Args:
        tree: Its files.
        files: The label files in it.
        reading: The user's wishes.
        problems: The list to which problems are added, one string each.
    """
    reader = Reader(reading, problems)
    everywhere = SoundNames(tree.sounds)
    labels_of: dict[PurePosixPath, list[Label]] = defaultdict(list)
    notes: list[str] = []
    sounds_in: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for sound in tree.sounds:
        sounds_in[sound.parent].append(sound)
    for file in track(files, label="read labels and recordings", total=len(files)):
        about: dict[str, list[Label]] = defaultdict(list)
        for label in reader.read(tree.folder / file, name=name_of(file)):
            about[label.sound].append(label)
        for name, labels in sorted(about.items()) or [("", [])]:
            recording = _recording(file, name, beside=sounds_in[file.parent], alone=len(about) <= 1)
            if not recording:
                elsewhere = everywhere.find(name or file.name.partition(".")[0], near=file.parts)
                recording = elsewhere[0] if len(elsewhere) == 1 else None
            if recording:
                labels_of[recording] += inside(labels, tree.folder / recording, name_of(file), notes)
            else:
                wanted = f"the sound {name}" if name else "a sound of this name"
                problems.append(f"{name_of(file)}: expected {wanted} beside the labels, found none")
    _check_mixture(tree, files[0], labels_of, problems)

    clips = [clip for sound in sorted(labels_of) for clip in _clips(tree, sound, labels_of[sound])]
    clips.sort(key=lambda clip: clip.part == "test")
    classes = sorted({label for clip in clips if clip.part == "curated" for label in clip.labels})
    if reader.uncertain:
        problems.append(uncertain(reader.uncertain[0], count=len(reader.uncertain)))
    else:
        check_classes(classes, source=SOURCE, problems=problems)
    untrained = sorted({label for clip in clips for label in clip.labels} - set(classes))
    problems += [f"{SOURCE}: the label {label!r} is only in recordings of test/" for label in untrained]
    check_separators(reader.texts, problems=problems)
    notes = outside(notes) + tree.notes(used=set(files)) + reader.notes
    if reader.unsure:
        left = counted(reader.unsure, "label")
        notes.append(f"{SOURCE}: {left} less sure than {reading.min_confidence:g}, left out")
    if unlabelled := [name_of(sound) for sound in tree.sounds if sound not in labels_of]:
        notes.append(f"{counted(len(unlabelled), 'sound')} without a label file, left out: {shorten(unlabelled)}")
    validation = sum(split_of_folders(sound.parts[:-1]) == VALIDATION for sound in labels_of)
    notes += validation_note(validation)
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


def _check_mixture(tree: Tree, file: PurePosixPath, labelled: Iterable[PurePosixPath], problems: list[str]) -> None:
    """Check that all folders of sounds have labelled ones. The others may be folders of classes."""
    without = sorted({sound.parts[:-1][:1] for sound in tree.sounds} - {sound.parts[:-1][:1] for sound in labelled})
    if without:
        problems.append(
            f"expected label files beside the sounds or a folder per class, found both: {name_of(file)}, but "
            f"none in {name_of('/'.join(without[0]) or '.')}/; move what is not meant out of the folder"
        )


def inside(labels: list[Label], recording: Path, file: str, notes: list[str]) -> list[Label]:
    """Return the labels of which at least half lies in their recording, and note the others.

    Args:
        labels: Labels in one recording.
        recording: The recording.
        file: The name of the file that they are in, for the notes.
        notes: The list to which a note on every other label is added.
    """
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


def outside(notes: list[str]) -> list[str]:
    """Return notes on labels outside of their recordings, of which only some are named if there are many."""
    if len(notes) <= NOTES:
        return notes
    more = counted(len(notes) - NOTES, "more label")
    return [*notes[:NOTES], f"and {more} outside of the recordings, left out"]


def _clips(tree: Tree, sound: PurePosixPath, labels: list[Label]) -> list[Clip]:
    """Return the clips of a recording in the split that its folders name."""
    split = split_of_folders(sound.parts[:-1])
    clips = cut_clips(tree, sound, labels, part="test" if split == TEST else "curated")
    return [replace(clip, fold=VALIDATION_FOLD if split == VALIDATION else -1) for clip in clips]


def cut_clips(tree: Tree, sound: PurePosixPath, labels: list[Label], *, part: str) -> list[Clip]:
    """Return the clips that are cut from a recording. Labels of the same time are one clip.

    Args:
        tree: The files of the data folder.
        sound: The recording.
        labels: All labels in it.
        part: The part of the clips.
    """
    spans = {(round(max(0.0, label.start - MARGIN), 3), round(label.end + MARGIN, 3)) for label in labels}
    return [
        Clip(
            f"{name_of(sound)}@{start:.3f}-{end:.3f}",
            part=part,
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
    """Return whether the first line of a file has a start, an end and a text, or is the header of such lines.

    A header that names files is that of a table of clips, unless it is Raven's.
    """
    with open_file(path) as file:
        is_wide = file.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff")
        with io.TextIOWrapper(file, encoding="utf-16" if is_wide else "utf-8-sig", errors="replace") as text:
            line = text.readline().rstrip("\r\n")
    fields = line.split("\t")
    if len(fields) > 1 and time_of(fields[0]) >= 0 and time_of(fields[1]) >= 0:
        return True
    header = {plain_name(field.strip('" ')) for field in (fields if len(fields) > 1 else re.split("[,;]", line))}
    if "selection" in header and "view" in header:
        return True
    if header.isdisjoint(NAMES["start"]) or header.isdisjoint(NAMES["end"]) or header.isdisjoint(LABEL_COLUMNS):
        return False
    return header.isdisjoint(set(NAMES["path"]) - {FILE, PATH}) and (len(fields) > 1 or header.isdisjoint({FILE, PATH}))


class Reader:
    """Reads label files of either program.

    Attributes:
        notes: Facts that are worth knowing but are not problems, one string each.
        texts: Where each label is, and its text.
        uncertain: Where the labels are that are not certain, with that value, if the user said of none.
        unsure: How many labels were left out because they are not sure enough.
    """

    def __init__(self, reading: Reading, problems: list[str]) -> None:
        """Prepare to read.

        Args:
            reading: The user's wishes.
            problems: The problems found so far. The reader adds to them.
        """
        self.problems = problems
        self.notes: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.uncertain: list[str] = []
        self.unsure = 0
        self._least = reading.min_confidence

    def read(self, path: Path, *, name: str) -> list[Label]:
        """Return the labels of a file.

        Args:
            path: The file.
            name: Its name, for messages.
        """
        try:
            text, encoding = read_text(path)
        except UnicodeDecodeError:
            self.problems.append(f"{name}: expected UTF-8, found another encoding; save it as UTF-8")
            return []
        if encoding == CODE_PAGE:
            self.notes.append(
                f"{name} is not in UTF-8: it was read as Windows-1252 ({CODE_PAGE}), so look at its accents"
            )
        rows = list(enumerate(csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE), 1))
        if len(rows[0][1]) == 1:
            rows = read_records(path).rows
        found = _audacity(rows) if time_of(rows[0][1][0]) >= 0 else self._raven(rows, name)
        return [label for label in found if self._is_usable(label, f"{name} line {label.line}")]

    def _is_usable(self, label: Label, where: str) -> bool:
        """Check a label."""
        if not 0 <= label.start <= label.end < math.inf:
            self.problems.append(f"{where}: expected a start and an end in seconds, found other values")
        elif not split_labels(label.text):
            self.problems.append(f"{where}: the label has no text; name the sound, or delete the label")
        elif label.certainty and not 0 <= time_of(label.certainty) <= 1:
            self.problems.append(
                f"{where}: expected a number from 0 to 1 in the fourth column, how sure the label is, found "
                f"{label.certainty!r}; remove what is meant otherwise"
            )
        elif label.certainty and self._least is None and time_of(label.certainty) < 1:
            self.uncertain.append(f"{where}: {label.certainty}")
        elif label.certainty and self._least is not None and time_of(label.certainty) < self._least:
            self.unsure += 1
        else:
            self.texts.append((where, label.text))
            return True
        return False

    def _raven(self, rows: list[tuple[int, list[str]]], name: str) -> list[Label]:
        """Return the labels of a table with a header, without those whose field is empty."""
        columns = rows[0][1]
        header = [plain_name(column) for column in columns]
        records = [
            (line, dict(zip(header, [*row, *[""] * len(header)], strict=False)))
            for line, row in rows[1:]
            if any(field.strip() for field in row)
        ]
        begin, end, text = (
            next((column for column in known if column in header), None)
            for known in (NAMES["start"], NAMES["end"], LABEL_COLUMNS)
        )
        if begin is None or end is None or text is None:
            wanted = (
                "times in the columns Begin Time (s) and End Time (s)" if text else "the labels in a column Annotation"
            )
            self.problems.append(f"{name}: expected {wanted}, found the columns {', '.join(columns)}")
            return []
        filled = {column for column in header for _, fields in records if fields[column].strip()}
        text = next((column for column in LABEL_COLUMNS if column in filled), text)
        labels, empty = [], []
        for line, fields in records:
            if not fields[text].strip() and text in filled:
                empty.append(str(line))
                continue
            start, stop = time_of(fields[begin]), time_of(fields[end])
            if OFFSET in fields:
                start, stop = time_of(fields[OFFSET]), time_of(fields[OFFSET]) + stop - start
            sound = PureWindowsPath(fields.get(FILE) or fields.get(PATH, "")).name
            certainty = next((fields[column].strip() for column in NAMES["confidence"] if column in fields), "")
            labels.append(Label(start, stop, fields[text], line, sound, certainty))
        if OFFSET not in header and len({label.sound for label in labels}) > 1:
            self.problems.append(
                f"{name}: expected a column File Offset (s), because its selections are in several sounds, found none"
            )
        called = {plain: column.strip() for plain, column in zip(header, columns, strict=True)}
        if empty:
            self.notes.append(f"{name} line {shorten(empty)}: the column {called[text]} is empty, left out")
        if others := [called[column] for column in LABEL_COLUMNS if column in filled and column != text]:
            self.notes.append(f"{name}: column {called[text]} is used as labels; not used: {', '.join(others)}")
        if SCORE in header:
            self.notes.append(f"{name}: the column {called[SCORE]} is not used: every selection counts as right")
        return labels


def _audacity(rows: list[tuple[int, list[str]]]) -> list[Label]:
    """Return the labels of lines with a start, an end, a text and perhaps how sure it is."""
    used = [(line, [*row, "", "", "", ""]) for line, row in rows if row and row[0] != "\\"]
    return [Label(time_of(row[0]), time_of(row[1]), row[2], line, certainty=row[3].strip()) for line, row in used]


def uncertain(where: str, *, count: int) -> str:
    """Return the problem of labels that are not certain.

    Args:
        where: Where the first one is, and how certain it is, such as "REC.txt line 1: 0.13".
        count: How many there are.
    """
    return (
        f"{where} says how sure the label is ({counted(count, 'such label')}), but a label is either right or wrong: "
        "take those from a value on with --min-confidence, such as .5"
    )


def time_of(text: str) -> float:
    """Return a time in seconds, or NaN if the text is no number.

    Examples:
        >>> time_of("1,5"), time_of("1:02.5")
        (1.5, 62.5)
    """
    try:
        seconds = 0.0
        for part in text.replace(",", ".").split(":"):
            seconds = 60 * seconds + float(part)
    except ValueError:
        return math.nan
    return seconds
