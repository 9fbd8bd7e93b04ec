"""The tables that public data sets have as they are unpacked, where other files beside them could be meant too.

All else follows from the names of their columns, tables and folders.
"""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple


class PublicDataset(NamedTuple):
    """A public data set.

    Attributes:
        name: Its name.
        tables: The last folders and the names of its tables. It is there if the first one is.
        folder: A folder that it has too.
        column: A column that its tables have.
        near: The folders of the sounds of a table, if their names do not tell.
    """

    name: str
    tables: tuple[str, ...]
    folder: str = ""
    column: str = ""
    near: tuple[tuple[str, str], ...] = ()


PUBLIC = (
    PublicDataset("ESC-50", ("meta/esc50.csv",)),
    PublicDataset("UrbanSound8K", ("metadata/UrbanSound8K.csv",)),
    PublicDataset("FSD50K", ("FSD50K.ground_truth/dev.csv", "FSD50K.ground_truth/eval.csv")),
    PublicDataset("FSDKaggle2018", ("train_post_competition.csv", "test_post_competition_scoring_clips.csv")),
    PublicDataset("FSDKaggle2018", ("train.csv", "sample_submission.csv"), folder="audio_train"),
    PublicDataset("BirdCLEF", ("train_metadata.csv",), column="primary_label"),
    PublicDataset(
        "DESED",
        (
            "metadata/train/weak.tsv",
            "metadata/train/synthetic*/soundscapes.tsv",
            "metadata/train/audioset_strong.tsv",
            "metadata/validation/validation.tsv",
            "metadata/validation/synthetic*/soundscapes.tsv",
            "metadata/eval/public.tsv",
        ),
        near=(("audioset_strong.tsv", "strong_label_real"),),
    ),
    PublicDataset(
        "DESED", ("metadata/train/synthetic*/soundscapes.tsv", "metadata/validation/synthetic*/soundscapes.tsv")
    ),
)


def find_public(
    files: Sequence[PurePosixPath], sounds: Sequence[PurePosixPath]
) -> tuple[PublicDataset, list[PurePosixPath]] | None:
    """Return the public data set in a folder and its tables, or None.

    Args:
        files: The files that are no sounds.
        sounds: The sounds.
    """
    for known in PUBLIC:
        tables = [[file for file in files if file.match(pattern)] for pattern in known.tables]
        has_folder = not known.folder or any(known.folder in sound.parts[:-1] for sound in sounds)
        if tables[0] and has_folder:
            return known, [file for matching in tables for file in matching]
    return None
