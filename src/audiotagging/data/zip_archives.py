"""Unpacks zip archives that nobody vouches for, split ones too: nothing is written outside the target folder."""

import io
import shutil
import stat
import struct
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate
from os import utime
from pathlib import Path, PurePosixPath
from typing import Any

from audiotagging.errors import UserError
from audiotagging.progress import track

MAX_BYTES = 200 << 30  # of all files together; FSDKaggle2019 has 33 GB
END_RECORD = b"PK\5\6"  # the end of central directory record
MAC = "__MACOSX/"  # attributes of files, which macOS adds to its archives
# What `zipfile` raises for broken and encrypted archives, and writing for entries that are file and folder both.
BROKEN = (
    *(zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, UnicodeDecodeError, struct.error, zlib.error),
    *(FileExistsError, IsADirectoryError, NotADirectoryError),
)


class ArchiveError(UserError):
    """An archive that is broken, or that is refused because of what it would write."""


def extract(archive: Path, target: Path, *, max_bytes: int = MAX_BYTES) -> None:
    """Unpack an archive into a folder. A folder that all its entries lie in is left out.

    Args:
        archive: A zip archive, or the last piece (`.zip`) of a split one whose other pieces (`.z01`, `.z02`, ...) lie
            beside it.
        target: The folder, which may exist.
        max_bytes: What the archive may hold at most, unpacked.

    Raises:
        ArchiveError: If the archive is broken or encrypted, is larger than allowed or than the disk, or has an entry
            that is a link or would lie outside the folder. Nothing is written then, unless it is found broken late.
    """
    pieces = _pieces(archive)
    try:
        with _Joined(pieces) as joined, zipfile.ZipFile(io.BufferedReader(joined)) as opened:
            _correct_offsets(opened, joined)
            entries = [entry for entry in opened.infolist() if not entry.filename.endswith("/")]
            entries = [entry for entry in entries if not entry.filename.startswith(MAC)]
            _check(archive, entries, target, max_bytes)
            top = _common_folder(entries)
            for entry in track(entries, label=f"unpack {archive.name}", total=len(entries)):
                path = target / PurePosixPath(entry.filename).relative_to(top)
                path.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(entry) as packed, path.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked, 1 << 20)
                utime(path, (_modified(entry), _modified(entry)))
    except BROKEN as error:
        raise ArchiveError(f"{archive} cannot be unpacked: {error}; download it again, or unpack it by hand") from error


def _check(archive: Path, entries: Sequence[zipfile.ZipInfo], target: Path, max_bytes: int) -> None:
    for entry in entries:
        name, kind = entry.filename, stat.S_IFMT(entry.external_attr >> 16)
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name or ":" in name:
            raise ArchiveError(
                f"{archive} is refused: the entry {name!r} would leave the folder that it is unpacked to"
            )
        if kind not in (0, stat.S_IFREG):
            raise ArchiveError(f"{archive} is refused: the entry {name!r} is a link or another special file")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArchiveError(
                f"{archive} is refused: the entry {name!r} is neither stored nor deflated; unpack it by hand"
            )
    size, free = sum(entry.file_size for entry in entries), shutil.disk_usage(target.parent).free
    if size > max_bytes:
        raise ArchiveError(f"{archive} is refused: unpacked it has {size:,} bytes, and {max_bytes:,} are allowed")
    if size > free:
        raise ArchiveError(f"{archive} needs {size:,} bytes unpacked, and {target.parent} has {free:,} bytes left")


def _common_folder(entries: Sequence[zipfile.ZipInfo]) -> str:
    """Return the one top folder of all entries, or "" if there is none."""
    tops = {PurePosixPath(entry.filename).parts[:-1][:1] for entry in entries}
    return "".join(tops.pop()) if len(tops) == 1 else ""


def _modified(entry: zipfile.ZipInfo) -> float:
    """Return the time of last change, in seconds: the archive's, so that unpacking again changes nothing."""
    try:
        return datetime(*entry.date_time, tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0


def _pieces(archive: Path) -> list[Path]:
    """Return the pieces of a split archive in order, or the archive alone.

    Raises:
        ArchiveError: If a piece is missing.
    """
    with archive.open("rb") as file:
        file.seek(max(0, archive.stat().st_size - (1 << 16)))
        tail = file.read()
    end = tail.rfind(END_RECORD)
    last = int.from_bytes(tail[end + 4 : end + 6], "little") if end >= 0 else 0  # number of the last disk
    pieces = [archive.with_suffix(f".z{number:02}") for number in range(1, last + 1)]
    missing = [piece.name for piece in pieces if not piece.exists()]
    if missing:
        raise ArchiveError(f"{archive} is split, and {', '.join(missing)} beside it is missing")
    return [*pieces, archive]


def _correct_offsets(opened: zipfile.ZipFile, joined: "_Joined") -> None:
    """Make the entries' offsets, which count from the start of a piece, count from the start of all.

    `zipfile` took all of them to be in the piece that the central directory is in.
    """
    if len(joined.starts) == 1:
        return
    directory_start = joined.starts[bisect_right(joined.starts, opened.start_dir) - 1]
    for entry in opened.infolist():
        if entry.volume >= len(joined.starts):
            raise zipfile.BadZipFile(f"{entry.filename!r} starts in piece {entry.volume + 1} of {len(joined.starts)}")
        entry.header_offset += joined.starts[entry.volume] - directory_start
        if hasattr(entry, "_end_offset"):  # newer Pythons look for overlaps, with ends from the wrong offsets
            entry._end_offset = None


class _Joined(io.RawIOBase):
    """Files read as one, one after the other."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.files = [path.open("rb") for path in paths]
        *self.starts, self.size = accumulate((path.stat().st_size for path in paths), initial=0)
        self.position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        if self.position < 0:
            raise zipfile.BadZipFile("an offset points before the start")
        return self.position

    def readinto(self, buffer: Any) -> int:
        if self.position >= self.size:
            return 0
        number = bisect_right(self.starts, self.position) - 1
        file = self.files[number]
        file.seek(self.position - self.starts[number])
        count = file.readinto(buffer)
        self.position += count
        return count

    def close(self) -> None:
        for file in self.files:
            file.close()
        super().close()
