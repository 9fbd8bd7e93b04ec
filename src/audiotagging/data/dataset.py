"""The data folder: reads its tables, checks everything before anything long starts, and knows when it has changed.

The layout is FSDKaggle2019's: `train_curated.csv`, `train_noisy.csv`, `sample_submission.csv` and
`test_post_competition.csv` beside the folders `train_curated/`, `train_noisy/` and `test/` with the audio. All but the
curated part is optional. Everything that is wrong is gathered first and reported in one `DataError`.
"""

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

from audiotagging.artifacts.noisy_choice import NOISY_CHOICES
from audiotagging.data.data_folder import FOLDERS, Clip, ClipReader
from audiotagging.data.folder_tables import find_classes, read_tables
from audiotagging.errors import UserError

PARTS = tuple(FOLDERS)


class DataError(UserError):
    """A data folder that cannot be used. Its text is one line; `problems` has everything that is wrong."""

    def __init__(self, folder: Path, problems: list[str]) -> None:
        more = f" (and {len(problems) - 1} more problems; `check` lists them all)" if len(problems) > 1 else ""
        super().__init__(f"{folder}: {problems[0]}{more}")
        self.problems = problems


@dataclass(frozen=True)
class Dataset:
    """A data folder that was read and checked.

    Attributes:
        folder: Where it lies.
        classes: The classes, in the order of every score table.
        clips: One row per clip, the parts in the order of `PARTS`, each in the order of its table: `clip` (its file
            name, unique), `part`, `path` (of the audio file), `labels` (list of str; empty for test clips without
            truth), `usage` ("", "Public" or "Private") and `fold` (int8; that of the curated table, else -1).
        noisy: How noisy clips are to be chosen: "none", "all", "agreement" or "list".
        notes: What is worth knowing though not wrong, one line each.
    """

    folder: Path
    classes: list[str]
    clips: pd.DataFrame
    noisy: str
    notes: list[str]


def read_dataset(folder: Path, *, noisy: str = "all") -> Dataset:
    """Read a data folder and check all of it but the audio's content.

    Args:
        folder: A folder in the layout that this module's head describes.
        noisy: Noisy clips to train on: "none" (then that part is not read and need not be there), "all", "agreement",
            or the path of a list of clips, relative to the data folder. A list is checked here; all are read, and the
            stage `select` chooses among them.

    Raises:
        DataError: If anything is wrong with the folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(folder, ["expected a folder with train_curated.csv in it, found no such folder"])
    problems: list[str] = []
    tables = read_tables(folder, noisy=noisy != "none", problems=problems)
    if tables is None:
        raise DataError(folder, problems)

    classes = find_classes(tables, problems=problems)
    reader = ClipReader(folder, classes, problems=problems)
    rows = [
        *reader.curated(tables.curated),
        *reader.noisy(tables.noisy, noisy),
        *reader.test(tables.submission, tables.truth),
    ]
    if problems:
        raise DataError(folder, problems)
    clips = pd.DataFrame(rows, columns=[column.name for column in fields(Clip)]).astype({"fold": "int8"})
    return Dataset(folder, classes.names, clips, noisy if noisy in NOISY_CHOICES else "list", reader.notes)


def fingerprint(dataset: Dataset) -> str:
    """Return a hash that changes when the clips, their labels or audio files change, wherever the folder lies.

    It does not change with the choice of noisy clips, but for "none", with which that part is not read. Audio files
    count by name, size and time of last change, tables by what is used of them: reading 33 GB to find that nothing
    changed would take longer than it saves.

    Returns:
        The sha256 in hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps(dataset.classes).encode())
    for clip in dataset.clips.itertuples():
        status = Path(clip.path).stat()
        row = [clip.clip, clip.part, clip.labels, clip.usage, clip.fold, status.st_size, status.st_mtime_ns]
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()
