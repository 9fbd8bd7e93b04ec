"""Downloads the files of a Zenodo record: goes on where it was broken off, and checks every file's md5."""

import hashlib
import json
import logging
import shutil
import time
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from audiotagging.errors import UserError
from audiotagging.files import whole_file
from audiotagging.progress import track

ZENODO = "https://zenodo.org"
TIMEOUT = 60.0  # seconds without a byte
ATTEMPTS = 4  # in a row that bring nothing
PAUSE = 2.0  # seconds before the second attempt, doubled before each later one
CHUNK = 1 << 20

logger = logging.getLogger(__name__)


class DownloadError(UserError):
    """Something that cannot be downloaded; the message says how to get it by hand."""


def download_record(record: str, folder: Path, *, zenodo: str = ZENODO) -> None:
    """Download all files of a record that are not in the folder yet.

    Args:
        record: Number of the record, such as "3612637".
        folder: Where the files go; made if need be. A file has its name only when it is complete and its md5 is right.
        zenodo: Address of Zenodo.

    Raises:
        DownloadError: If a file cannot be had, or is not what the record says, or the disk is too small.
    """
    by_hand = f"download the files of {zenodo}/records/{record} by hand, put them in one folder and give it as the data"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        files = _read_record(f"{zenodo}/api/records/{quote(record)}", folder / "files.json")
        missing = [file for file in files if not (folder / file["key"]).exists()]
        size, free = sum(file["size"] for file in missing), shutil.disk_usage(folder).free
        if size > free:
            raise DownloadError(f"{folder} needs {size:,} bytes for record {record}, and has {free:,} left")
        for file in missing:
            kind, _, md5 = file["checksum"].partition(":")
            assert kind == "md5", "Zenodo's checksums are md5 sums"
            download(file["links"]["self"], folder / file["key"], size=file["size"], md5=md5)
    except (OSError, HTTPException, json.JSONDecodeError, KeyError) as error:
        raise DownloadError(
            f"record {record} of {zenodo} cannot be downloaded ({error}); try again, or {by_hand}"
        ) from error


def _read_record(url: str, copy: Path) -> list[dict]:
    """Return the record's files. They never change, so that a copy of the list serves where the network is missing."""
    if not copy.exists():
        with urlopen(url, timeout=TIMEOUT) as response:
            files = json.load(response)["files"]
        with whole_file(copy) as part:
            part.write_text(json.dumps(files))
    files = json.loads(copy.read_text())
    for file in files:
        if file["key"] != Path(file["key"]).name:
            raise DownloadError(f"{url} is refused: it has a file called {file['key']!r}")
    return files


def download(url: str, path: Path, *, size: int, md5: str) -> None:
    """Download a file, going on with the part of it that an earlier download left in `NAME.part`.

    Args:
        url: Where it is.
        path: Where it goes.
        size: Bytes that it must have.
        md5: md5 sum that it must have, in hexadecimal digits.

    Raises:
        OSError, HTTPException: If it cannot be had, after a few attempts in a row that brought nothing.
        DownloadError: If what came is something else.
    """
    part = path.with_name(path.name + ".part")
    part.touch()
    failures = 0
    while (have := part.stat().st_size) < size:
        try:
            _fetch_rest(url, part, size)
        except (OSError, HTTPException) as error:
            if isinstance(error, HTTPError) and error.code in (403, 404, 410):
                raise
            failures = 1 if part.stat().st_size > have else failures + 1
            if failures == ATTEMPTS:
                raise
            logger.info("%s was broken off at %d of %d bytes (%s)", path.name, part.stat().st_size, size, error)
            time.sleep(PAUSE * 2 ** (failures - 1))
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if (have, found) != (size, md5):
        part.unlink()
        raise DownloadError(
            f"{path.name}: expected {size:,} bytes with the md5 {md5}, found {have:,} with {found}; "
            f"they were removed, so try again, or download {url} by hand"
        )
    part.replace(path)


def _fetch_rest(url: str, part: Path, size: int) -> None:
    """Append what is missing; from the start where the server cannot send a range.

    Raises:
        OSError, HTTPException: If it is broken off.
    """
    have = part.stat().st_size
    with urlopen(Request(url, headers={"Range": f"bytes={have}-"}), timeout=TIMEOUT) as response:
        resumed = response.status == 206
        with part.open("ab" if resumed else "wb") as file:
            total = -(-(size - have * resumed) // CHUNK)
            for chunk in track(
                iter(lambda: response.read(CHUNK), b""), label=f"download {part.stem} (MiB)", total=total
            ):
                file.write(chunk)
    if part.stat().st_size < size:
        raise OSError("the server closed the connection")
