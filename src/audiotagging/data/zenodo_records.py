"""The records of Zenodo that are known: which of their files are needed, and where these belong as they are unpacked.

Their names are those of https://zenodo.org/records/NUMBER. Of other records, all files are downloaded and unpacked.
"""

from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePath


@dataclass(frozen=True)
class KnownRecord:
    """A record.

    Attributes:
        name: The name of the data set.
        needed: Patterns of the names of the files that are needed. The others are documents.
        in_folders: Whether every archive becomes a folder of its name. Otherwise all of them are parts of one folder.
    """

    name: str
    needed: tuple[str, ...] = ("*",)
    in_folders: bool = True


SCENES = ("*.audio.*.zip", "*.meta.zip")
RECORDS = {
    "3612637": KnownRecord("FSDKaggle2019"),
    "4060432": KnownRecord("FSD50K", ("FSD50K.dev_audio.*", "FSD50K.eval_audio.*", "FSD50K.ground_truth.zip")),
    "2552860": KnownRecord("FSDKaggle2018", ("FSDKaggle2018.audio_*.zip", "FSDKaggle2018.meta.zip")),
    "1203745": KnownRecord("UrbanSound8K", ("UrbanSound8K.tar.gz",)),
    "1324404": KnownRecord("URBAN-SED", ("URBAN-SED_v2.0.0.tar.gz",)),
    "2589280": KnownRecord("TAU Urban Acoustic Scenes 2019", SCENES, in_folders=False),
    "3819968": KnownRecord("TAU Urban Acoustic Scenes 2020 Mobile", SCENES, in_folders=False),
    "6337421": KnownRecord("TAU Urban Acoustic Scenes 2022 Mobile", SCENES, in_folders=False),
}


def is_needed(record: str, name: str) -> bool:
    """Return whether a file of a record is needed.

    Examples:
        >>> is_needed("4060432", "FSD50K.dev_audio.z01"), is_needed("4060432", "FSD50K.doc.zip")
        (True, False)
    """
    known = RECORDS.get(record, KnownRecord(record))
    return any(fnmatch(name, pattern) for pattern in known.needed)


def place_of(record: str, archive: str) -> str:
    """Return the folder that an archive of a record is unpacked to.

    Examples:
        >>> place_of("2552860", "FSDKaggle2018.meta.zip"), place_of("2589280", "TAU.audio.1.zip")
        ('FSDKaggle2018.meta', '.')
    """
    return PurePath(archive).stem if RECORDS.get(record, KnownRecord(record)).in_folders else "."
