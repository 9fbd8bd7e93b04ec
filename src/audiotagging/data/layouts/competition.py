"""The layout of FSDKaggle2019.

It has the tables `train_curated.csv`, `train_noisy.csv`, `sample_submission.csv` and `test_post_competition.csv`, and
the folders `train_curated/`, `train_noisy/` and `test/` with the audio files. All but the curated part is optional.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from audiotagging.artifacts.selection import NOISY_CHOICES, read_list
from audiotagging.base.errors import UserError
from audiotagging.base.wording import pluralize
from audiotagging.data.corrections import corrections_note, read_corrections
from audiotagging.data.layouts.competition_tables import BAD_CLIPS, Table, find_classes, read_tables
from audiotagging.data.layouts.contents import FOLDS, Classes, Clip, Contents
from audiotagging.data.layouts.label_cells import split_labels
from audiotagging.sounds.formats import is_sound_name

FOLDERS = {"curated": "train_curated", "noisy": "train_noisy", "test": "test"}


def read_competition(folder: Path, *, noisy: str, corrections: Sequence[str], problems: list[str]) -> Contents | None:
    """Read a data folder.

    Args:
        folder: The folder.
        noisy: The choice of noisy clips, as `audiotagging.data.dataset.read_dataset` takes it.
        corrections: Paths of tables of corrected labels, relative to the folder.
        problems: The list to which problems are added, one string each.

    Returns:
        The contents, or None if a table cannot be used.
    """
    tables = read_tables(folder, noisy=noisy != "none", problems=problems)
    if tables is None:
        return None
    classes = find_classes(tables, problems=problems)
    paths = [folder / path for path in corrections]
    corrected = read_corrections(paths, tables.curated.rows["fname"], classes, problems=problems)
    reader = ClipReader(folder, classes, problems=problems)
    clips = [
        *reader.curated(tables.curated, corrected),
        *reader.noisy(tables.noisy, noisy),
        *reader.test(tables.submission, tables.truth),
    ]
    return Contents(tables.curated.name, classes.names, clips, reader.notes)


class ClipReader:
    """Reads the clips of one data folder.

    Attributes:
        problems: The problems, one string each, with file and line if they have one.
        notes: Facts that are worth knowing but are not problems, one string each.
    """

    def __init__(self, folder: Path, classes: Classes, *, problems: list[str]) -> None:
        """List the files of the folder.

        Args:
            folder: The data folder.
            classes: Its classes.
            problems: The problems found so far. The reader adds to them.
        """
        self.folder = folder
        self.classes = classes
        self.problems = problems
        self.notes: list[str] = []
        self._files = {part: _files(folder / name) for part, name in FOLDERS.items()}
        self._part_of: dict[str, str] = {}  # clip: the part that it was found in

    def curated(self, table: Table, corrections: Mapping[str, list[str]]) -> list[Clip]:
        """Return the curated clips that are not known to be bad, with corrected labels.

        Args:
            table: The table of curated clips.
            corrections: The new labels of some clips. A clip whose list is empty is left out.
        """
        clips, bad = [], []
        for line, clip in self._clips("curated", table.name, self._names(table)):
            if clip.clip in BAD_CLIPS:
                bad.append(f"{clip.clip} ({BAD_CLIPS[clip.clip]})")
                continue
            clip.labels = corrections[clip.clip] if clip.clip in corrections else self._labels(table, line)
            clip.fold = self._fold(table, line)
            if clip.labels or clip.clip not in corrections:
                clips.append(clip)
        if bad:
            self.notes.append(
                f"{table.name}: {pluralize(len(bad), 'clip')} known to be bad, left out: {', '.join(bad)}"
            )
        if corrections:
            self.notes.append(corrections_note(table.name, corrections))
        unlisted = self._files["curated"].difference(table.rows["fname"])
        self._note("train_curated/: files that are not listed are left out", unlisted)
        return clips

    def noisy(self, table: Table | None, choice: str) -> list[Clip]:
        """Return all noisy clips, and check the choice among them."""
        if table is None:
            if choice not in NOISY_CHOICES:
                self.problems.append(f"train_noisy.csv is missing, but noisy={choice} chooses among its clips")
            return []
        names = self._names(table)
        if choice not in NOISY_CHOICES:
            try:
                read_list(self.folder / choice, list(names))
            except UserError as error:
                self.problems.append(str(error))
        clips = []
        for line, clip in self._clips("noisy", table.name, names):
            clip.labels = self._labels(table, line)
            clips.append(clip)
        unlisted = self._files["noisy"].difference(table.rows["fname"])
        self._note("train_noisy/: files that are not listed are left out", unlisted)
        return clips

    def test(self, submission: Table | None, truth: Table | None) -> list[Clip]:
        """Return the clips of the submission or, without one, those of the truth and all other files in `test/`."""
        true = self._names(truth) if truth else {}
        if submission:
            clips = [clip for _, clip in self._clips("test", submission.name, self._names(submission))]
        else:
            clips = [clip for _, clip in self._clips("test", "test_post_competition.csv", true)]
            others = sorted(self._files["test"] - true.keys())
            others = [name for name in others if is_sound_name(name)]
            self.problems += [f"test/: a clip cannot be called {name!r}" for name in others if not _is_file_name(name)]
            clips += [clip for _, clip in self._clips("test", "test/", dict.fromkeys(others, 0))]
            if not clips and (self.folder / "test").is_dir():
                self.problems.append("test/ has no audio file; put the test clips there, or remove the folder")
        names = {clip.clip for clip in clips}
        self._note("test/: files that are not listed are left out", self._files["test"] - names)
        if truth:
            self._add_truth(clips, truth, true)
            self._note(f"{truth.name}: test clips that it does not list are not scored", names - true.keys())
            self._note(f"{truth.name}: rows that are not of test clips are left out", true.keys() - names)
            if "usage" not in truth.rows:
                self.notes.append(f"{truth.name}: there are no public and private scores without a column usage")
        return clips

    def _add_truth(self, clips: list[Clip], truth: Table, lines: dict[str, int]) -> None:
        """Add labels and usage to the test clips that are in the table of true labels."""
        for clip in clips:
            line = lines.get(clip.clip)
            if line is None:
                continue
            clip.labels = self._labels(truth, line)
            clip.usage = truth.rows["usage"][line] if "usage" in truth.rows else ""
            if clip.usage not in ("", "Public", "Private"):
                self.problems.append(f"{truth.name} line {line}: usage must be Public or Private, found {clip.usage!r}")

    def _names(self, table: Table) -> dict[str, int]:
        """Return the line of every clip in a table whose name is valid."""
        lines: dict[str, int] = {}
        for line, name in table.rows["fname"].items():
            where = f"{table.name} line {line}"
            if not name:
                self.problems.append(f"{where}: fname is empty")
            elif not _is_file_name(name):
                self.problems.append(f"{where}: fname must be the name of a file without a folder, found {name!r}")
            elif name in lines:
                self.problems.append(f"{where}: {name} is listed already in line {lines[name]}")
            else:
                lines[name] = line
        return lines

    def _clips(self, part: str, source: str, lines: dict[str, int]) -> Iterator[tuple[int, Clip]]:
        """Yield the line (0 for none) and the clip of every name, and check its file and that no other part has it."""
        folder, files = FOLDERS[part], self._files[part]
        if lines and not files:
            self.problems.append(
                f"{folder}/ is missing or empty; put {pluralize(len(lines), 'clip')} of {source} there"
            )
        for name, line in lines.items():
            where = f"{source} line {line}" if line else source
            if files and name not in files:
                self.problems.append(f"{where}: {name} is not in {folder}/")
            other = self._part_of.setdefault(name, part)
            if other != part:
                self.problems.append(f"{where}: {name} is a clip of the {other} part too; rename one of them")
            yield line, Clip(name, part, str(self.folder / folder / name))

    def _labels(self, table: Table, line: int) -> list[str]:
        """Return the labels of a row."""
        labels = split_labels(table.rows["labels"][line])
        if not labels:
            self.problems.append(f"{table.name} line {line}: the clip has no labels")
        for label in labels:
            if label not in self.classes.names:
                self.problems.append(f"{table.name} line {line}: {label!r} is not a class of {self.classes.source}")
        return labels

    def _fold(self, table: Table, line: int) -> int:
        """Return the fold of a clip in the table, or -1 if the table has no folds."""
        if "fold" not in table.rows:
            return -1
        fold = table.rows["fold"][line]
        if fold in FOLDS:
            return int(fold)
        self.problems.append(f"{table.name} line {line}: fold must be a number from 0 to 127, found {fold!r}")
        return -1

    def _note(self, what: str, names: Collection[str]) -> None:
        """Add a note about files, unless all of them are hidden."""
        shown = sorted(name for name in names if not name.startswith("."))
        if shown:
            more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
            self.notes.append(f"{what}: {', '.join(map(ascii, shown[:3]))}{more}")


def _files(folder: Path) -> set[str]:
    return {entry.name for entry in os.scandir(folder) if entry.is_file()} if folder.is_dir() else set()


def _is_file_name(name: str) -> bool:
    return name.isprintable() and "/" not in name and "\\" not in name
