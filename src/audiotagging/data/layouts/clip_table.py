"""Tables of clips: a row per clip with its path and labels and, if wanted, its fold, split and group.

The paths need not be written as they are (`sound_names`), nor the columns be called so (`columns`). Several labels are
in one field (`label_cells`) or in several rows. A row with a start and an end is a label in a recording, from which
clips are cut as for label files. `split` names training, validation or test clips (`splits`); a test clip needs no
labels and has no fold. The clips of a `group`, such as those of one recorder, stay in one fold and on one side of the
split.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from audiotagging.data.layouts.columns import near_misses
from audiotagging.data.layouts.contents import FOLDS, Clip, Contents, check_classes, shorten
from audiotagging.data.layouts.label_cells import check_separators, split_labels
from audiotagging.data.layouts.label_files import Label, cut_clips, time_of, uncertain
from audiotagging.data.layouts.reading import Reading
from audiotagging.data.layouts.sound_names import SoundNames
from audiotagging.data.layouts.splits import TEST, VALIDATION, VALIDATION_FOLD, split_in, split_named, split_of_folders
from audiotagging.data.layouts.table_files import Table
from audiotagging.data.layouts.tree import Tree, name_of
from audiotagging.wording import counted


@dataclass
class Row:
    """What a row says of a sound. Rows about one sound become one, but for their labels with times."""

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


class TableReader:
    """Reads the tables of one data folder.

    Attributes:
        problems: The problems, one string each, with file and line if they have one.
        notes: Facts that are worth knowing but are not problems, one string each.
    """

    def __init__(
        self, tree: Tree, sounds: SoundNames, reading: Reading, *, partial: bool = False, problems: list[str]
    ) -> None:
        """Prepare to read.

        Args:
            tree: The files of the data folder.
            sounds: Its sounds.
            reading: The user's wishes.
            partial: Whether sounds may be missing, as in a data set that is seldom complete.
            problems: The problems found so far. The reader adds to them.
        """
        self.tree, self.sounds, self.reading, self.partial = tree, sounds, reading, partial
        self.problems = problems
        self.notes: list[str] = []

    def read(self, tables: Sequence[tuple[Table, str]]) -> Contents:
        """Return the contents.

        Args:
            tables: The tables, and for each the split of its clips if that follows from its name, else "".
        """
        rows: dict[PurePosixPath, Row] = {}
        for table, split in tables:
            placeholders = "" if _has_truth(table) else "; the labels in it are placeholders"
            self.notes += [*table.notes, f"{table.name}: {table.columns.describe()}{placeholders}"]
            self._check_columns(table)
            own = self._joined(self._rows(table, split), table)
            for row in _without_torn_groups(own, table, self.notes):
                if row.sound in rows:
                    self.problems.append(f"{row.where}: {name_of(row.sound)} is in {rows[row.sound].where} too")
                rows[row.sound] = row
        source = tables[0][0].name
        clips = [clip for row in rows.values() for clip in self._clips(row)]
        clips.sort(key=lambda clip: clip.part == "test")
        if validation := sum(row.split == VALIDATION for row in rows.values()):
            self.notes.append(
                f"{counted(validation, 'validation clip')} are training clips in fold {VALIDATION_FOLD}: --folds "
                f"{VALIDATION_FOLD} holds them out"
            )
        classes = sorted({label for clip in clips if clip.part == "curated" for label in clip.labels})
        if clips or not self.problems:
            check_classes(classes, source=source, problems=self.problems)
        untrained = {label: clip for clip in clips for label in clip.labels if label not in classes}
        self.problems += [
            f"{source}: no training clip has the label {label!r} of {clip.clip}" for label, clip in untrained.items()
        ]
        if unlisted := [name_of(sound) for sound in self.tree.sounds if sound not in rows]:
            lists = source if len(tables) == 1 else "the tables"
            self.notes.append(f"{lists}: {counted(len(unlisted), 'sound')} not listed, left out: {shorten(unlisted)}")
        others = self.tree.notes(used={table.file for table, _ in tables})
        return Contents(source, classes, clips, others + self.notes)

    def _check_columns(self, table: Table) -> None:
        """Check that columns are called what they seem to be, and once."""
        self.problems += [f"{table.name}: {miss}" for miss in near_misses(table.columns)]
        header = table.columns.header
        twice = {header[place] for places in table.columns.used.values() for place in places}
        self.problems += [
            f"{table.name} has the column {column!r} more than once" for column in sorted(twice) if header.count(column) > 1
        ]
        if ("start" in table.columns.used) != ("end" in table.columns.used):
            known, lacking = ("start", "end") if "start" in table.columns.used else ("end", "start")
            self.problems.append(
                f"{table.name}: the column {header[table.columns.used[known][0]]!r} has a time, but no column is known "
                f"to have the {lacking}; name it with --{lacking}-column, or none of them with --{known}-column none"
            )

    def _rows(self, table: Table, split: str) -> Iterator[Row]:
        """Yield the rows that can be used."""
        columns, width = table.columns, len(table.columns.header)
        is_of_splits = self._has_splits(table)
        with_folds = any(columns.get(fields, "fold") for _, fields in table.records if len(fields) == width)
        label_fields = []
        absent, unsure = [], []
        for line, fields in table.records:
            where = f"{table.name} line {line}"
            if len(fields) != width:
                self.problems.append(
                    f"{where}: expected {width} fields, found {len(fields)}; put quotes around several labels"
                )
                continue
            path = columns.get(fields, "path")
            found = self.sounds.find(path, near=table.near)
            if not found and path and self.partial:
                absent.append(path)
                continue
            cells = [fields[place] for place in columns.used["labels"]] if _has_truth(table) else []
            label_fields += [(where, cell) for cell in cells]
            labels = [label for cell in cells for label in split_labels(cell)]
            times = columns.get(fields, "start"), columns.get(fields, "end")
            row = Row(where, found[0] if found else PurePosixPath(), list(dict.fromkeys(labels)))
            problem = _problem_of_path(path, found) or self._add_facts(
                row, table, fields, split=split, is_of_splits=is_of_splits, with_folds=with_folds
            )
            if not problem and (certainty := columns.get(fields, "confidence")):
                problem, is_sure = self._is_sure(certainty)
                if not problem and not is_sure:
                    unsure.append(f"{where}: {certainty}")
                    continue
            if not problem and any(times) and split_labels(times[0]):
                start, end = map(time_of, times)
                row.events = [Label(start, end, label, line) for label in labels]
                row.labels = []
                if not 0 <= start <= end < float("inf"):
                    problem = f"expected a start and an end in seconds, found {times[0]!r} and {times[1]!r}"
                elif not labels:
                    problem = "the label has no text"
            elif not problem and not labels and row.split != TEST and not self._may_be_unlabelled(times):
                problem = "the clip has no labels; if nothing is to be tagged in it, say so with --allow-unlabelled"
            if problem:
                self.problems.append(f"{where}: {problem}")
            elif labels or row.split == TEST or self.reading.allow_unlabelled:
                yield row
        separator = check_separators(label_fields, problems=self.problems)
        if separator not in ("", ","):
            self.notes.append(f"{table.name}: {separator!r} separates labels")
        if absent:
            self.notes.append(f"{table.name}: {counted(len(absent), 'row')} of sounds that are not here: {shorten(absent)}")
        if unsure and self.reading.min_confidence is None:
            self.problems.append(uncertain(unsure[0], count=len(unsure)))
        elif unsure:
            self.notes.append(
                f"{table.name}: {counted(len(unsure), 'label')} less sure than {self.reading.min_confidence:g}, left out"
            )

    def _may_be_unlabelled(self, times: tuple[str, str]) -> bool:
        """Return whether a row without labels is none of a clip: one of a recording in which nothing was found."""
        return self.reading.allow_unlabelled or self.partial

    def _has_splits(self, table: Table) -> bool:
        """Return whether the column of splits can be used: all of its values name one, or it is called so."""
        columns = table.columns
        if "split" not in columns.used:
            return False
        values = {columns.get(fields, "split") for _, fields in table.records if len(fields) == len(columns.header)}
        if "split" in columns.named or all(map(split_named, values - {""})):
            return True
        self.notes.append(f"{table.name}: the values of the column {columns.header[columns.used['split'][0]]!r} name no splits")
        return False

    def _add_facts(
        self, row: Row, table: Table, fields: Sequence[str], *, split: str, is_of_splits: bool, with_folds: bool
    ) -> str:
        """Add all but the labels to a row, and return what is wrong with it."""
        columns = table.columns
        value, fold = columns.get(fields, "split"), columns.get(fields, "fold").removesuffix(".0")
        row.group = columns.get(fields, "group")
        row.usage = columns.get(fields, "usage") if split == TEST else ""
        if row.usage not in ("", "Public", "Private"):
            return f"usage must be Public or Private, found {row.usage!r}"
        named = split_named(value) if is_of_splits and value else split
        if named is None:
            return f"split must be train, validation or test, found {value!r}"
        if not named and not is_of_splits and not fold:
            named = split_of_folders(row.sound.parts[:-1]) or ""
        row.split = named
        if row.split == TEST and fold:
            return f"a test clip has no fold, found {fold!r}; leave the field empty, or make it a training clip"
        if row.split != TEST and with_folds and fold not in FOLDS:
            return f"fold must be a number from 0 to 127, found {fold!r}"
        row.fold = int(fold) if fold else VALIDATION_FOLD if row.split == VALIDATION else -1
        return ""

    def _is_sure(self, text: str) -> tuple[str, bool]:
        """Return what is wrong with the certainty of a label, and whether it is sure enough."""
        certainty = time_of(text)
        if not 0 <= certainty <= 1:
            return f"how sure the label is must be a number from 0 to 1, found {text!r}", False
        least = self.reading.min_confidence
        return "", certainty >= (1 if least is None else least)

    def _joined(self, rows: Iterator[Row], table: Table) -> list[Row]:
        """Join the rows about one sound."""
        joined: dict[PurePosixPath, Row] = {}
        several = set()
        for row in rows:
            first = joined.setdefault(row.sound, row)
            if first is row:
                continue
            if first.facts != row.facts:
                self.problems.append(
                    f"{row.where}: {name_of(row.sound)} is listed already in line {first.where.rpartition(' ')[2]}, with "
                    "another fold, split or group"
                )
            if row.labels or first.labels:
                several.add(row.sound)
            first.labels = list(dict.fromkeys([*first.labels, *row.labels]))
            first.events += row.events
        if several:
            names = shorten([name_of(sound) for sound in sorted(several)])
            self.notes.append(
                f"{table.name}: {counted(len(several), 'clip')} in several rows, with the labels of all of them: {names}"
            )
        return list(joined.values())

    def _clips(self, row: Row) -> list[Clip]:
        """Return the clip of a sound or, if its labels have times, the clips that are cut from it."""
        part = "test" if row.split == TEST else "curated"
        if row.events:
            cut = cut_clips(self.tree, row.sound, row.events, part=part)
            return [replace(clip, fold=row.fold, group=row.group or clip.group, usage=row.usage) for clip in cut]
        path = str(self.tree.folder / row.sound)
        name = name_of(row.sound)
        return [Clip(name, part, path, row.labels, usage=row.usage, fold=row.fold, group=row.group)]


def choose_splits(tables: Sequence[Table]) -> list[tuple[Table, str]] | None:
    """Return several tables with the splits that their names, or else the folders they are in, tell.

    None if they tell no splits, or if two tables of one split name the same sound, so that only one may be meant.
    """
    if len(tables) == 1:
        return [(tables[0], "")]
    splits = [split_in(table.file.stem) or split_of_folders(table.file.parts[:-1]) for table in tables]
    times = Counter(sound for table in tables for sound in table.sounds)
    if None in splits or len(set(splits)) < 2 or max(times.values(), default=0) > 1:
        return None
    return [(table, split or "") for table, split in zip(tables, splits, strict=True)]


def _has_truth(table: Table) -> bool:
    """Return whether a table is no example of a submission, whose labels say nothing."""
    return "submission" not in table.file.stem.casefold()


def _problem_of_path(path: str, found: Sequence[PurePosixPath]) -> str:
    """Return what is wrong with the path of a row."""
    if not path:
        return "path is empty"
    if len(found) > 1:
        return f"{path!r} can be {' or '.join(map(name_of, found[:2]))}; write the path below the data folder"
    if found:
        return ""
    if path.startswith("/") or ".." in PurePosixPath(path).parts:
        return f"path must be relative to the data folder and inside it, found {path!r}"
    return f"{path!r} is not a sound in the data folder"


def _without_torn_groups(rows: list[Row], table: Table, notes: list[str]) -> list[Row]:
    """Return the rows without groups if these contradict the folds and splits, and the user did not name the column."""
    sides = defaultdict(set)
    for row in rows:
        if row.group:
            sides[row.group].add((row.split, row.fold))
    torn = [group for group, found in sides.items() if len(found) > 1]
    if not sides or "group" in table.columns.named or not (torn or len(sides) == 1):
        return rows
    column = table.columns.header[table.columns.used["group"][0]]
    why = f"{torn[0]} is in several folds or splits" if torn else "it has one value"
    notes.append(f"{table.name}: the column {column!r} is not used as group: {why}")
    return [replace(row, group="") for row in rows]
