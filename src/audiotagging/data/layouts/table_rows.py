"""Reads the rows of a table of clips: what each says of which sound, and what is wrong with it."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from audiotagging.base.errors import UserError
from audiotagging.base.wording import pluralize
from audiotagging.data.layouts.columns import NO, YES, near_misses
from audiotagging.data.layouts.contents import FOLDS, shorten
from audiotagging.data.layouts.label_cells import check_separators, is_list, is_part, is_vector, split_labels
from audiotagging.data.layouts.reading import Reading
from audiotagging.data.layouts.sound_names import SoundNames
from audiotagging.data.layouts.splits import TEST, VALIDATION, VALIDATION_FOLD, split_named, split_of_folders
from audiotagging.data.layouts.table_files import Table
from audiotagging.data.layouts.timed_labels import Label, time_of, uncertain
from audiotagging.data.layouts.tree import name_of


@dataclass
class Row:
    """What a row says of a sound. Rows about one sound become one.

    Attributes:
        where: The table and the line, for messages.
        sound: The sound.
        labels: Its labels, if they have no times.
        split: Its split, "" if nothing names one.
        fold: Its fold, -1 for none.
        group: Its group, "" for none.
        usage: "Public" or "Private" for a test clip of a competition, else "".
        events: Its labels with times.
    """

    where: str
    sound: PurePosixPath
    labels: list[str]
    split: str = ""
    fold: int = -1
    group: str = ""
    usage: str = ""
    events: list[Label] = field(default_factory=list)

    @property
    def facts(self) -> tuple[str, int, str, str]:
        """What all rows about a sound must agree in."""
        return self.split, self.fold, self.group, self.usage


class RowError(UserError):
    """Raised for a row that cannot be used. The message says why, without the place."""


class RowReader:
    """Reads the rows of one table.

    Attributes:
        problems: The problems, one string each, with the table and the line if they have one.
        notes: Facts that are worth knowing but are not problems, one string each.
    """

    def __init__(self, table: Table, sounds: SoundNames, reading: Reading, *, split: str, partial: bool) -> None:
        """Prepare to read.

        Args:
            table: The table.
            sounds: The sounds of the data folder.
            reading: The user's wishes.
            split: The split of its clips if that follows from its name, else "".
            partial: Whether sounds and labels may be missing, as in a data set that is seldom complete.
        """
        self.problems: list[str] = []
        self.notes: list[str] = list(table.notes)
        self._table, self._sounds, self._reading = table, sounds, reading
        self._split, self._partial = split, partial
        self._records = [record for record in table.records if len(record[1]) == len(table.columns.header)]
        self._has_truth = "submission" not in table.file.stem.casefold()
        self._has_splits = self._check_splits()
        self._has_times = self._check_times()
        self._has_folds = any(self._field(fields, "fold") for _, fields in self._records)
        self._texts: list[tuple[str, str]] = []  # where each field of labels is, and the field
        self._absent: list[str] = []
        self._unsure: list[str] = []

    def read(self) -> list[Row]:
        """Return the rows that can be used, one per sound."""
        name, columns = self._table.name, self._table.columns
        useless = ["split"] * (not self._has_splits) + ["start", "end", "duration"] * (not self._has_times)
        columns = replace(columns, used={role: at for role, at in columns.used.items() if role not in useless})
        placeholders = "" if self._has_truth else "; the labels in it are placeholders"
        self.notes.append(f"{name}: {columns.describe()}{placeholders}")
        self._check_columns()
        rows = self._without_torn_groups(self._joined(self._rows()))
        separator = check_separators(self._texts, problems=self.problems)
        if separator not in ("", ","):
            self.notes.append(f"{name}: {separator!r} separates labels")
        if self._absent:
            missing = f"{pluralize(len(self._absent), 'row')} of sounds that are not here"
            self.notes.append(f"{name}: {missing}, left out: {shorten(self._absent)}")
        if self._unsure and self._reading.min_confidence is None:
            self.problems.append(uncertain(self._unsure[0], count=len(self._unsure)))
        elif self._unsure:
            least = f"{self._reading.min_confidence:g}"
            self.notes.append(f"{name}: {pluralize(len(self._unsure), 'label')} less sure than {least}, left out")
        return rows

    def _field(self, fields: Sequence[str], role: str) -> str:
        return self._table.columns.get(fields, role)

    def _check_columns(self) -> None:
        """Check that columns are called what they seem to be, and once, and that records have as many fields."""
        table, header, used = self._table, self._table.columns.header, self._table.columns.used
        self.problems += [f"{table.name}: {miss}" for miss in near_misses(table.columns)]
        names = sorted({header[place] for places in used.values() for place in places})
        self.problems += [
            f"{table.name} has the column {name!r} more than once" for name in names if header.count(name) > 1
        ]
        for known, lacking in (("start", "end"), ("end", "start")):
            if known in used and lacking not in used and "duration" not in used:
                self.problems.append(
                    f"{table.name}: the column {header[used[known][0]]!r} is used as {known}, but none is known to be "
                    f"the {lacking}; name it with --{lacking}-column, or use neither with --{known}-column none"
                )
        self.problems += [
            f"{table.name} line {line}: expected {len(header)} fields, found {len(fields)}; put quotes around several "
            "labels"
            for line, fields in table.records
            if len(fields) != len(header)
        ]

    def _check_splits(self) -> bool:
        """Return whether the column of splits can be used: all of its values name one, or it is called so."""
        columns = self._table.columns
        if "split" not in columns.used:
            return False
        values = {self._field(fields, "split") for _, fields in self._records}
        if "split" in columns.named or all(map(split_named, values - {""})):
            return True
        column = columns.header[columns.used["split"][0]]
        self.notes.append(f"{self._table.name}: the values of the column {column!r} name no splits")
        return False

    def _check_times(self) -> bool:
        """Return whether labels have times: columns of starts and ends, in which there are numbers."""
        columns = self._table.columns
        roles = [role for role in ("start", "end", "duration") if role in columns.used]
        if len(roles) < 2:
            return False
        times = [time_of(self._field(fields, role)) for _, fields in self._records for role in roles]
        if all(map(math.isnan, times)):
            names = " and ".join(repr(columns.header[columns.used[role][0]]) for role in roles)
            self.notes.append(f"{self._table.name}: the columns {names} have no times in seconds")
            return False
        return True

    def _rows(self) -> Iterator[Row]:
        """Yield the rows that can be used, and note what is wrong with the others."""
        for line, fields in self._records:
            where = f"{self._table.name} line {line}"
            path = self._field(fields, "path")
            found = self._sounds.find(path, near=self._table.near)
            if self._partial and path and not found:
                self._absent.append(path)
                continue
            try:
                row = Row(where, _only(path, found), self._labels(fields, where))
                if self._is_unsure(fields, where):
                    continue
                self._add_facts(row, fields)
                self._add_times(row, fields, line)
            except RowError as error:
                self.problems.append(f"{where}: {error}")
                continue
            if row.labels or row.events or row.split == TEST or self._reading.allow_unlabelled:
                yield row
            elif not self._partial:
                self.problems.append(
                    f"{where}: the clip has no labels; if nothing is to be tagged in it, say so with --allow-unlabelled"
                )

    def _labels(self, fields: Sequence[str], where: str) -> list[str]:
        """Return the labels of a record."""
        if not self._has_truth:
            return []
        if self._table.columns.is_one_hot:
            return self._heard(fields)
        texts = [fields[place] for place in self._table.columns.used["labels"]]
        self._texts += [(where, text) for text in texts]
        labels = list(dict.fromkeys(label for text in texts for label in split_labels(text)))
        if any(map(is_vector, texts)) or any(map(is_part, labels)):
            raise RowError(
                f"expected names of labels, found {shorten(texts)[:40]}; name the column of the names with "
                "--label-column, or make a column of zeros and ones for each label"
            )
        if any("\n" in text.strip() and not is_list(text) for text in texts):
            raise RowError("a line ends within the labels; look for a quote that is not closed")
        return labels

    def _heard(self, fields: Sequence[str]) -> list[str]:
        """Return the labels of a record with a column of zeros and ones for each label."""
        columns = self._table.columns
        for place in columns.used["labels"]:
            if fields[place].strip() not in (*YES, *NO):
                raise RowError(f"expected 0 or 1 in the column {columns.header[place]!r}, found {fields[place]!r}")
        return [columns.header[place] for place in columns.used["labels"] if fields[place].strip() in YES]

    def _is_unsure(self, fields: Sequence[str], where: str) -> bool:
        """Return whether the labels of a record are not certain, or less certain than the user wants them."""
        text = self._field(fields, "confidence")
        if not text:
            return False
        certainty, least = time_of(text), self._reading.min_confidence
        if not 0 <= certainty <= 1:
            raise RowError(f"how sure the label is must be a number from 0 to 1, found {text!r}")
        if certainty >= (1 if least is None else least):
            return False
        self._unsure.append(f"{where}: {text}")
        return True

    def _add_facts(self, row: Row, fields: Sequence[str]) -> None:
        """Add the split, the fold, the group and the usage."""
        value = self._field(fields, "split") if self._has_splits else ""
        fold = self._field(fields, "fold").removesuffix(".0")
        split = split_named(value) if value else self._split
        if split is None:
            raise RowError(f"split must be train, validation or test, found {value!r}")
        if not split and not self._has_splits and not self._has_folds:
            split = split_of_folders(row.sound.parts[:-1]) or ""
        row.split = split
        if split == TEST and fold:
            raise RowError(
                f"a test clip has no fold, found {fold!r}; leave the field empty, or make it a training clip"
            )
        if split != TEST and self._has_folds and fold not in FOLDS:
            raise RowError(f"fold must be a number from 0 to 127, found {fold!r}")
        row.fold = int(fold) if fold else VALIDATION_FOLD if split == VALIDATION else -1
        row.group = self._field(fields, "group")
        row.usage = self._field(fields, "usage") if split == TEST else ""
        if row.usage not in ("", "Public", "Private"):
            raise RowError(f"usage must be Public or Private, found {row.usage!r}")

    def _add_times(self, row: Row, fields: Sequence[str], line: int) -> None:
        """Make the labels events if they have times."""
        last = "end" if "end" in self._table.columns.used else "duration"
        texts = [self._field(fields, role) for role in ("start", last)]
        if not self._has_times or not any(split_labels(text) for text in texts):  # none, or `nan`
            return
        start, end = map(time_of, texts)
        if last == "duration":
            end += start
        if not 0 <= start <= end < math.inf:
            raise RowError(f"expected a start and a {last} in seconds, found {texts[0]!r} and {texts[1]!r}")
        if not row.labels:
            raise RowError("the label has no text")
        row.events, row.labels = [Label(start, end, label, line) for label in row.labels], []

    def _joined(self, rows: Iterator[Row]) -> list[Row]:
        """Join the rows about one sound."""
        joined: dict[PurePosixPath, Row] = {}
        several = set()
        for row in rows:
            first = joined.setdefault(row.sound, row)
            if first is row:
                continue
            if first.facts != row.facts:
                line = first.where.rpartition(" ")[2]
                self.problems.append(
                    f"{row.where}: {name_of(row.sound)} is listed already in line {line}, with another fold, split or "
                    "group"
                )
            if row.labels or first.labels:
                several.add(name_of(row.sound))
            first.labels = list(dict.fromkeys([*first.labels, *row.labels]))
            first.events += row.events
        if several:
            what = f"{pluralize(len(several), 'clip')} in several rows, with the labels of all of them"
            self.notes.append(f"{self._table.name}: {what}: {shorten(sorted(several))}")
        return list(joined.values())

    def _without_torn_groups(self, rows: list[Row]) -> list[Row]:
        """Return the rows without groups if these are none, and the user did not call or name the column so.

        They are none if one is in several folds or splits, and if there is only one.
        """
        sides = defaultdict(set)
        for row in rows:
            if row.group:
                sides[row.group].add((row.split, row.fold))
        torn = [group for group, found in sides.items() if len(found) > 1]
        columns = self._table.columns
        if not sides or "group" in columns.named or not (torn or len(sides) == 1):
            return rows
        column = columns.header[columns.used["group"][0]]
        why = f"{torn[0]} is in several folds or splits" if torn else "it has one value"
        self.notes.append(f"{self._table.name}: the column {column!r} is not used as group after all: {why}")
        return [replace(row, group="") for row in rows]


def _only(path: str, found: Sequence[PurePosixPath]) -> PurePosixPath:
    """Return the only sound that a path can mean."""
    if not path:
        raise RowError("path is empty")
    if len(found) > 1:
        names = " or ".join(map(name_of, found[:2]))
        raise RowError(f"{path!r} can be {names}; write the path below the data folder")
    if found:
        return found[0]
    if path.startswith("/") or ".." in PurePosixPath(path).parts:
        raise RowError(f"path must be relative to the data folder and inside it, found {path!r}")
    raise RowError(f"{path!r} is not a sound in the data folder")
