"""Unpacks zip archives that nobody vouches for, split ones too: nothing is written outside the target folder."""

import io
import shutil
import stat
import struct
import zipfile
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate
from os import utime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from audiotagging.errors import UserError
from audiotagging.progress import track

MAX_BYTES = 200 << 30  # of all files together; FSDKaggle2019 has 33 GB
END_RECORD = b"PK\5\6"  # how the end of central directory record begins
# The end of central directory record, a file's header in the directory, the extra field with its place in 64 bits, the
# end record of the 64-bit form, and what says where that is.
END = struct.Struct("<4s4H2LH")
ENTRY = struct.Struct("<4s6H3L5H2L")
OFFSET = struct.Struct("<2HQ")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")
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
    try:
        with _opened(archive) as file, zipfile.ZipFile(file) as opened:
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


def _opened(archive: Path) -> BinaryIO:
    """Open an archive, one that is split as one that never was.

    Raises:
        ArchiveError: If a piece is missing.
    """
    with archive.open("rb") as file:
        file.seek(max(0, archive.stat().st_size - (1 << 16)))
        tail = file.read()
    at = tail.rfind(END_RECORD)
    last = int.from_bytes(tail[at + 4 : at + 6], "little") if at >= 0 else 0  # number of the last piece, from 0
    if not last:
        return archive.open("rb")
    pieces = [archive.with_suffix(f".z{number:02}") for number in range(1, last + 1)]
    missing = [piece.name for piece in pieces if not piece.exists()]
    if missing:
        raise ArchiveError(f"{archive} is split, and {', '.join(missing)} beside it is missing")
    joined = _Joined([*pieces, archive])
    _join_directory(joined, END.unpack_from(tail, at))
    return io.BufferedReader(joined)


def _join_directory(joined: "_Joined", end: Sequence[int]) -> None:
    """Write the directory of joined pieces again, with places that count from the start of all.

    In a split archive they count from the start of a piece, which `zipfile` does not know. The formats of the records
    are those of PKWARE's APPNOTE.TXT, 4.3.

    Args:
        joined: The pieces.
        end: The fields of the end of central directory record.
    """
    _, _, piece, _, count, size, offset, _ = end
    start = joined.position_of(piece, offset)
    if size > joined.size - start:
        raise zipfile.BadZipFile("its directory is longer than the archive")
    joined.seek(start)
    reader = io.BufferedReader(joined)
    found = reader.read(size)
    reader.detach()
    written, at = bytearray(), 0
    for _ in range(count):
        fields = list(ENTRY.unpack_from(found, at))
        name, extra, comment, piece, offset = (*fields[10:14], fields[16])
        text = found[at + ENTRY.size :][: name + extra + comment]
        place = OFFSET.pack(1, 8, joined.position_of(piece, offset))  # in 64 bits, for pieces of gigabytes
        fields[11], fields[13], fields[16] = extra + len(place), 0, 0xFFFFFFFF
        written += ENTRY.pack(*fields) + text[:name] + place + text[name:]
        at += ENTRY.size + len(text)
    end64 = END64.pack(b"PK\6\6", END64.size - 12, 45, 45, 0, 0, count, count, len(written), start)
    locator = LOCATOR.pack(b"PK\6\7", 0, start + len(written), 1)
    few, much = min(count, 0xFFFF), 0xFFFFFFFF
    joined.end_with(start, bytes(written) + end64 + locator + END.pack(END_RECORD, 0, 0, few, few, much, much, 0))


class _Joined(io.RawIOBase):
    """Files read as one, one after the other."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.files: list[BinaryIO] = [path.open("rb") for path in paths]
        *self.starts, self.size = accumulate((path.stat().st_size for path in paths), initial=0)
        self.position = 0

    def position_of(self, number: int, offset: int) -> int:
        """Return where a place in one of the files lies in all."""
        if number >= len(self.starts) or self.starts[number] + offset > self.size:
            raise zipfile.BadZipFile(f"something lies at byte {offset} of piece {number + 1} of {len(self.starts)}")
        return self.starts[number] + offset

    def end_with(self, start: int, content: bytes) -> None:
        """Put other bytes in the place of all from a position on."""
        kept = bisect_left(self.starts, start)
        for file in self.files[kept:]:
            file.close()
        self.files[kept:], self.starts[kept:] = [io.BytesIO(content)], [start]
        self.size = start + len(content)

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
        file, end = self.files[number], [*self.starts, self.size][number + 1]
        file.seek(self.position - self.starts[number])
        content = file.read(min(len(buffer), end - self.position))
        buffer[: len(content)] = content
        self.position += len(content)
        return len(content)

    def close(self) -> None:
        for file in self.files:
            file.close()
        super().close()
