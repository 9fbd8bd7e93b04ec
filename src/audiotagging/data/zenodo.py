"""Downloads the files of a Zenodo record: which are needed, and where they belong.

The records of Zenodo that are known: which of their files are needed, and where these belong as they are unpacked.

Their names are those of https://zenodo.org/records/NUMBER. Of other records, all files are downloaded and unpacked.
"""

import hashlib
import logging
import shutil
import time
from dataclasses import dataclass
from fnmatch import fnmatch
from http.client import HTTPException
from pathlib import Path, PurePath
from typing import TypedDict
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_file, check_target, open_file, publish
from audiotagging.base.locks import LOCK, file_lock
from audiotagging.base.progress import track
from audiotagging.base.removal import remove
from audiotagging.base.typed_json import parse_json, read_json, write_json


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


ZENODO = "https://zenodo.org"
TIMEOUT = 60.0  # seconds without data after which an attempt fails
ATTEMPTS = 4  # attempts in a row without new data after which a download fails
PAUSE = 2.0  # seconds before the second attempt; the pause doubles before each further attempt
CHUNK = 1 << 20

logger = logging.getLogger(__name__)


class Links(TypedDict):
    """The URL of a file."""

    self: str


class File(TypedDict):
    """A file of a record: its name, its bytes, the kind and the value of its checksum, and its URL."""

    key: str
    size: int
    checksum: str
    links: Links


class Record(TypedDict):
    """What is read of a record."""

    files: list[File]


class DownloadError(UserError):
    """Raised when a download fails. The message says how to get the file by hand."""


def download_record(record: str, folder: Path, *, zenodo: str = ZENODO) -> None:
    """Download the files of a record that are needed and not in the folder yet.

    Args:
        record: Number of the record, such as "3612637".
        folder: The folder for the files. It is created if needed. A file gets its name only when it is complete and its
            MD5 sum is right.
        zenodo: URL of Zenodo.

    Raises:
        DownloadError: If a file cannot be downloaded, if its content differs from the record, or if the disk is full.
    """
    by_hand = (
        f"download the files of {zenodo}/records/{record} by hand, put them into one folder, and pass that as the data"
    )
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with file_lock(folder / LOCK):
            files = _read_record(f"{zenodo}/api/records/{quote(record)}", folder / "files.json")
            needed = [file for file in files if is_needed(record, file["key"])]
            missing = [file for file in needed if not (folder / file["key"]).exists()]
            size, free = sum(file["size"] for file in missing), shutil.disk_usage(folder).free
            if size > free:
                raise DownloadError(
                    f"{folder}: expected {size:,} free bytes for record {record}, found {free:,}; free some space, or "
                    "name a folder on another disk with --downloads"
                )
            for file in missing:
                kind, _, md5 = file["checksum"].partition(":")
                assert kind == "md5", "Zenodo's checksums are MD5 sums"
                download(file["links"]["self"], folder / file["key"], size=file["size"], md5=md5)
    except (OSError, HTTPException) as error:
        raise DownloadError(
            f"record {record} of {zenodo} cannot be downloaded ({error}); try again, or {by_hand}"
        ) from error


def _read_record(url: str, copy: Path) -> list[File]:
    """Return the files of a record. A record never changes, so a local copy of its list is used if there is one."""
    try:
        files = read_json(copy, list[File])
    except (FileNotFoundError, UserError):
        with urlopen(url, timeout=TIMEOUT) as response:
            files = parse_json(response.read(), Record, source=url, advice="try again later")["files"]
        with atomic_file(copy) as partial:
            write_json(partial, files)
    for file in files:
        if file["key"] != Path(file["key"]).name:
            raise DownloadError(f"{url}: expected file names without a folder, found {file['key']!r}")
    return files


def download(url: str, path: Path, *, size: int, md5: str) -> None:
    """Download a file. If an earlier download left its beginning in `NAME.part`, resume it.

    Args:
        url: URL of the file.
        path: Where to store it.
        size: Expected size in bytes.
        md5: Expected MD5 sum in hexadecimal digits.

    Raises:
        OSError, HTTPException: If several attempts in a row yield no data.
        DownloadError: If the downloaded file has another size or MD5 sum.
    """
    partial = check_target(path.with_name(path.name + ".part"))
    partial.touch()
    failures = 0
    while (have := partial.stat().st_size) < size:
        try:
            _fetch_rest(url, partial, size)
        except (OSError, HTTPException) as error:
            if isinstance(error, HTTPError) and error.code in (403, 404, 410):
                raise
            failures = 1 if partial.stat().st_size > have else failures + 1
            if failures == ATTEMPTS:
                raise
            logger.info("%s was interrupted after %d of %d bytes (%s)", path.name, partial.stat().st_size, size, error)
            time.sleep(PAUSE * 2 ** (failures - 1))
    with open_file(partial) as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if (have, found) != (size, md5):
        remove(partial.parent, partial.name)
        raise DownloadError(
            f"{path.name}: expected {size:,} bytes with the MD5 sum {md5}, found {have:,} with {found}; "
            f"the file was removed, so try again, or download {url} by hand"
        )
    publish(partial, path)


def _fetch_rest(url: str, partial: Path, size: int) -> None:
    """Append the missing bytes. If the server does not support ranges, start from the beginning.

    Raises:
        OSError, HTTPException: If the download is interrupted.
    """
    have = partial.stat().st_size
    with urlopen(Request(url, headers={"Range": f"bytes={have}-"}), timeout=TIMEOUT) as response:
        resumed = response.status == 206
        with partial.open("ab" if resumed else "wb") as file:
            total = -(-(size - have * resumed) // CHUNK)
            for chunk in track(
                iter(lambda: response.read(CHUNK), b""), label=f"download {partial.stem} (MiB)", total=total
            ):
                file.write(chunk)
    if partial.stat().st_size < size:
        raise OSError("the server closed the connection")
