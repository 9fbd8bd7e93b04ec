"""Reads a data folder, checks it before any long computation starts, and detects when it changes.

The modules of `audiotagging.data.layouts` say which layouts a folder can have. One `DataError` reports all problems
together.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

from audiotagging.artifacts.selection import NOISY_CHOICES
from audiotagging.base.errors import UserError
from audiotagging.base.wording import pluralize
from audiotagging.data.digests import sound_digests
from audiotagging.data.layouts.choice import read_layout
from audiotagging.data.layouts.contents import Clip
from audiotagging.data.layouts.reading import AS_FOUND, Reading
from audiotagging.data.split import check_clips, deal_folds, draw_test_clips

# Of columns whose values are not objects. Paths are, because their names need not be UTF-8.
TYPES = dict.fromkeys(("clip", "part", "usage", "group"), "str") | {"fold": "int8", "start": float, "end": float}


class DataError(UserError):
    """Raised for a data folder that cannot be used. The message is one line; `problems` lists all problems."""

    def __init__(self, folder: Path, problems: list[str]) -> None:
        more = (
            f" (and {pluralize(len(problems) - 1, 'more problem')}; `check` lists them all)"
            if len(problems) > 1
            else ""
        )
        super().__init__(f"{folder}: {problems[0]}{more}")
        self.problems = problems


@dataclass(frozen=True)
class Dataset:
    """A data folder that has been read and checked.

    Attributes:
        folder: Path of the folder.
        classes: The classes, in the order of every score table.
        clips: One row per clip with the attributes of `layouts.contents.Clip`, the parts in the order of `PARTS` there,
            each in the order of its table or of the names of its files.
        noisy: How to choose the noisy clips: "none", "all", "agreement" or "list".
        notes: Facts that are worth knowing but are not problems, one string per fact.
        is_drawn: Whether test clips or folds depend on the seed.
    """

    folder: Path
    classes: list[str]
    clips: pd.DataFrame
    noisy: str
    notes: list[str]
    is_drawn: bool = False


def read_dataset(
    folder: Path,
    *,
    noisy: str = "all",
    corrections: Sequence[str] = (),
    reading: Reading = AS_FOUND,
    test_share: float = 0.0,
    seed: int = 0,
) -> Dataset:
    """Read a data folder, and check everything but the content of the audio files.

    Args:
        folder: A folder in one of the layouts.
        noisy: The noisy clips to train on: "none", "all", "agreement", or the path of a list of clips relative to the
            data folder. With "none" the noisy part is not read and may be missing. Otherwise all noisy clips are read,
            a list is only checked, and the stage `select` chooses among the clips.
        corrections: Paths of tables of corrected labels (`audiotagging.data.corrections`), relative to the data folder.
        reading: How the user wants the folder to be read.
        test_share: Share of the training clips of every class to make test clips, if the folder has none. 0 for none.
        seed: Seed of the draw of test clips, and of the folds of groups. Nothing else depends on it.

    Raises:
        DataError: If anything is wrong with the folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(folder, ["expected a folder of labelled sounds, found no such folder"])
    problems: list[str] = []
    contents = read_layout(folder, noisy=noisy, corrections=corrections, reading=reading, problems=problems)
    is_drawn = test_share > 0
    if contents and not problems:
        draw_test_clips(contents, share=test_share, seed=seed, problems=problems)
    if contents and not problems:
        is_drawn |= deal_folds(contents, seed=seed)
        check_clips(contents, problems=problems)
    if problems or contents is None:
        raise DataError(folder, problems)
    clips = pd.DataFrame(contents.clips, columns=[column.name for column in fields(Clip)], dtype=object)
    clips = clips.astype(TYPES)
    choice = noisy if noisy in NOISY_CHOICES else "list"
    return Dataset(folder, contents.classes, clips, choice, contents.notes, is_drawn)


def take_digests(dataset: Dataset, *, downloads: Path | None = None) -> dict[str, str]:
    """Return the digests of the sounds of a data set by path, as `digests.sound_digests` does."""
    return sound_digests(dataset.folder, dataset.clips["path"], downloads=downloads)


def fingerprint(dataset: Dataset, digests: Mapping[str, str] | None = None) -> str:
    """Return a hash that changes when the clips, their labels or the content of their sounds change.

    It depends neither on where the folder is, nor on times, nor on the choice of noisy clips, except for "none", with
    which the noisy part is not read. The order of the rows of a table counts, because training draws clips by it.

    Args:
        dataset: The data set.
        digests: The digests of its sounds, from `take_digests`. By default all sounds are read.

    Returns:
        The SHA-256 digest in hexadecimal digits.
    """
    digests = take_digests(dataset) if digests is None else digests
    digest = hashlib.sha256(json.dumps(dataset.classes).encode())
    # Which clips form a group matters to what is said of clips that sound alike. What groups are called does not.
    groups = pd.factorize(dataset.clips["group"].where(dataset.clips["group"] != "", None))[0].tolist()
    for clip, group in zip(dataset.clips.itertuples(), groups, strict=True):
        row = [clip.clip, clip.part, sorted(clip.labels), clip.usage, clip.fold, group, digests[clip.path]]
        if clip.start > 0 or clip.end < math.inf:
            row += [clip.start, clip.end]
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()
