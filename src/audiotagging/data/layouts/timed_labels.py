r"""Labels with times, in the label files of Audacity and Raven.

Audacity's have lines of start, end and text, separated by tabs. After a label with a band of frequencies comes a line
that starts with a backslash. The format is in Audacity's manual, "Importing and exporting labels". The labels of
URBAN-SED and of DCASE's challenges are like them. They may have a fourth column: how sure the label is.

Raven's selection tables have columns separated by tabs, with their names in the first line. A selection may have a row
for each view of the sound, and its label is in a column that the user named. A table about several sounds names that of
each selection, and says where in it the selection begins. The format is in the Raven Pro User's Manual, "Selection
tables".
"""

import csv
import io
import math
import re
from collections import Counter
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from audiotagging.base.csv_table import CODE_PAGE, TRIED, TableError, read_records, read_text, wide_encoding
from audiotagging.base.files import open_file
from audiotagging.base.wording import pluralize
from audiotagging.data.layouts.columns import NAMES, plain_name
from audiotagging.data.layouts.contents import shorten
from audiotagging.data.layouts.label_cells import is_part, is_vector, split_labels
from audiotagging.data.layouts.reading import Reading
from audiotagging.data.layouts.sound_names import SoundNames

# Columns of Raven as `plain_name` writes them. Times are from the start of the first sound of the table.
OFFSET, FILE, PATH, SCORE = "file_offset", "begin_file", "begin_path", "score"
# What users call the column of their labels in Raven. The last ones are BirdNET's, and those of DCASE's challenges.
LABEL_COLUMNS = (
    *("annotation", "annotations", "label", "labels", "tag", "tags", "class", "species", "common_name"),
    *("event_label", "event_labels"),
)
ENDS = (*NAMES["end"], *NAMES["duration"])


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


def is_label_file(path: Path, sounds: SoundNames) -> bool:
    """Return whether the first line of a file has a start, an end and a text, or is the header of such lines.

    A table that names sounds, in its header or below it, is one of clips, unless it is Raven's.
    """
    try:
        with open_file(path) as file:
            encoding = wide_encoding(file.peek(TRIED)[:TRIED]) or "utf-8-sig"
            with io.TextIOWrapper(file, encoding=encoding, errors="replace") as text:
                line = text.readline().rstrip("\r\n")
    except OSError:  # which is reported when it is read as a table
        return False
    fields = line.split("\t")
    if len(fields) > 1 and time_of(fields[0]) >= 0 and time_of(fields[1]) >= 0:
        return True
    header = {plain_name(field.strip('" ')) for field in (fields if len(fields) > 1 else re.split("[,;]", line))}
    if "selection" in header and "view" in header:
        return True
    if any(header.isdisjoint(names) for names in (NAMES["start"], ENDS, LABEL_COLUMNS)):
        return False
    if not header.isdisjoint({FILE, PATH}):
        return len(fields) > 1
    return header.isdisjoint(NAMES["path"]) and not _names_sounds(path, sounds)


def _names_sounds(path: Path, sounds: SoundNames) -> bool:
    """Return whether at least half of the fields in a column of a table name sounds. Numbers may be times."""
    try:
        records = [fields for _, fields in read_records(path).rows[1 : 1 + TRIED]]
    except TableError:  # which is reported when it is read
        return False
    fields = [(place, field.strip()) for record in records for place, field in enumerate(record)]
    hits = Counter(place for place, field in fields if math.isnan(time_of(field)) and sounds.find(field))
    return 2 * max(hits.values(), default=0) >= len(records) > 0


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
            text, encoding = read_text(path, name=name)
        except TableError as error:
            self.problems += error.problems
            return []
        if encoding == CODE_PAGE:
            self.notes.append(
                f"{name} is not in UTF-8: it was read as Windows-1252 ({CODE_PAGE}), so look at its accents"
            )
        try:
            rows = list(enumerate(csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE), 1))
        except csv.Error as error:
            self.problems.append(f"{name}: {error}")
            return []
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
        elif is_vector(label.text) or any(map(is_part, split_labels(label.text))):
            self.problems.append(f"{where}: expected names of labels, found {label.text[:40]!r}")
        elif label.certainty and not math.isnan(time_of(label.text)):
            self.problems.append(f"{where}: expected a name in the third column, found {label.text!r}, a number")
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
            for known in (NAMES["start"], ENDS, LABEL_COLUMNS)
        )
        if begin is None or end is None or text is None:
            wanted = (
                "times in the columns Begin Time (s) and End Time (s)" if text else "the labels in a column Annotation"
            )
            self.problems.append(f"{name}: expected {wanted}, found the columns {', '.join(columns)}")
            return []
        filled = {column for column in header for _, fields in records if fields[column].strip()}
        text = next((column for column in LABEL_COLUMNS if column in filled), text)
        certainties = [column for column in NAMES["confidence"] if column != SCORE]
        labels, empty = [], []
        for line, fields in records:
            if not fields[text].strip() and text in filled:
                empty.append(str(line))
                continue
            start, stop = time_of(fields[begin]), time_of(fields[end])
            if end in NAMES["duration"]:
                stop += start
            if OFFSET in fields:
                start, stop = time_of(fields[OFFSET]), time_of(fields[OFFSET]) + stop - start
            sound = PureWindowsPath(fields.get(FILE) or fields.get(PATH, "")).name
            certainty = next((fields[column].strip() for column in certainties if column in fields), "")
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
        f"{where} says how sure the label is ({pluralize(count, 'such label')}), but a label is either right or wrong: "
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
