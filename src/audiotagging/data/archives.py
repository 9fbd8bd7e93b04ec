"""Unpacks archives: zip, including split ones, and tar."""

import io
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate
from os import utime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from audiotagging.base.errors import UserError
from audiotagging.base.files import open_file
from audiotagging.base.progress import track

BLOCK = tarfile.BLOCKSIZE  # bytes; two of zeros are the end of an archive
SUFFIXES = (".tar.gz", ".tgz", ".tar")


def is_tar(path: Path) -> bool:
    """Return whether a file is called as a tar archive is."""
    return path.name.lower().endswith(SUFFIXES)


def extract_tar(archive: Path, target: Path) -> None:
    """Unpack an archive into a folder.

    Args:
        archive: A tar archive, which may be compressed.
        target: The folder to write to.

    Raises:
        ArchiveError: If the archive is corrupt, if it exceeds the allowed size or the free disk space, or if an entry
            would be written outside the folder.
    """
    try:
        with tarfile.open(archive) as opened:
            entries = opened.getmembers()
            check_size(archive, sum(entry.size for entry in entries), target)
            for entry in track(entries, label=f"unpack {archive.name}", total=len(entries)):
                opened.extract(entry, target, filter="data")
            _check_end(opened)
    except tarfile.FilterError as error:
        raise ArchiveError(f"{archive} is refused: {error}") from error
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # not of the content, such as a full disk
            raise
        raise ArchiveError(f"{archive} cannot be unpacked: {error}; download it again, or unpack it by hand") from error


def _check_end(opened: tarfile.TarFile) -> None:
    """Check that an archive ends after its last entry. `tarfile` takes damage for the end, and reads no checksum there.

    Raises:
        tarfile.ReadError, EOFError, OSError, zlib.error, lzma.LZMAError: If it does not, or is damaged.
    """
    assert opened.fileobj is not None
    opened.fileobj.seek(opened.offset)
    if opened.fileobj.read(BLOCK) != bytes(BLOCK):
        raise tarfile.ReadError("it is damaged, or its end is missing")
    while opened.fileobj.read(1 << 20):
        pass


MAX_BYTES = 200 << 30  # total size of the unpacked files; FSDKaggle2019 has 33 GB
END_RECORD = b"PK\5\6"  # signature of the end of central directory record
# In this order: the end of central directory record, the header of a file in the central directory, the extra field
# with the file's 64-bit offset, the zip64 end of central directory record, and the zip64 locator of that record.
END = struct.Struct("<4s4H2LH")
ENTRY = struct.Struct("<4s6H3L5H2L")
OFFSET = struct.Struct("<2HQ")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")
MAC = "__MACOSX/"  # file attributes that macOS adds to its archives
# What `zipfile` raises for corrupt and encrypted archives, and what writing raises if an entry is both file and folder.
BROKEN = (
    *(zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, UnicodeDecodeError, struct.error, zlib.error),
    *(FileExistsError, IsADirectoryError, NotADirectoryError),
)


class ArchiveError(UserError):
    """Raised for an archive that is corrupt, or that is refused because of what it would write."""


def extract(archive: Path, target: Path, *, max_bytes: int = MAX_BYTES) -> None:
    """Unpack an archive into a folder. If all entries share one top folder, that folder is left out.

    Args:
        archive: A zip archive, or the last piece (`.zip`) of a split archive whose other pieces (`.z01`, `.z02`, ...)
            are in the same folder.
        target: The folder to write to. It may exist.
        max_bytes: Maximum total size of the unpacked files.

    Raises:
        ArchiveError: If the archive is corrupt or encrypted, if it exceeds the allowed size or the free disk space, or
            if an entry is a link or would be written outside the folder. Nothing is written then, unless a corrupt
            entry is found only while unpacking.
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
        if entry.header_offset < 0:  # opening such an entry would raise an OSError
            raise zipfile.BadZipFile(f"the offset of the entry {name!r} is negative")
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name or ":" in name:
            raise ArchiveError(f"{archive} is refused: the entry {name!r} would be written outside the target folder")
        if kind not in (0, stat.S_IFREG):
            raise ArchiveError(f"{archive} is refused: the entry {name!r} is a link or another special file")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArchiveError(
                f"{archive} is refused: the entry {name!r} is compressed by another method than deflate; unpack the "
                "archive by hand"
            )
    check_size(archive, sum(entry.file_size for entry in entries), target, max_bytes=max_bytes)


def check_size(archive: Path, size: int, target: Path, *, max_bytes: int = MAX_BYTES) -> None:
    """Check that the unpacked files of an archive are not too large, and that the disk has enough space for them.

    Args:
        archive: The archive, for messages.
        size: The bytes of its unpacked files.
        target: The folder to write to.
        max_bytes: Maximum of these bytes.

    Raises:
        ArchiveError: If they are too large.
    """
    free = shutil.disk_usage(target.parent).free
    if size > max_bytes:
        raise ArchiveError(
            f"{archive} is refused: expected at most {max_bytes:,} unpacked bytes, found {size:,}; unpack it by hand"
        )
    if size > free:
        raise ArchiveError(
            f"{target.parent}: expected {size:,} free bytes to unpack {archive}, found {free:,}; free some space"
        )


def _common_folder(entries: Sequence[zipfile.ZipInfo]) -> str:
    """Return the top folder that all entries share, or "" if there is none."""
    tops = {PurePosixPath(entry.filename).parts[:-1][:1] for entry in entries}
    return "".join(tops.pop()) if len(tops) == 1 else ""


def _modified(entry: zipfile.ZipInfo) -> float:
    """Return the modification time in seconds, as the archive states it, so that unpacking again changes nothing."""
    try:
        return datetime(*entry.date_time, tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0


def _opened(archive: Path) -> BinaryIO:
    """Open an archive for reading. The pieces of a split archive are presented as one archive that was never split.

    Raises:
        ArchiveError: If a piece is missing.
    """
    with open_file(archive) as file:
        file.seek(max(0, archive.stat().st_size - (1 << 16)))
        tail = file.read()
    at = tail.rfind(END_RECORD)
    last = int.from_bytes(tail[at + 4 : at + 6], "little") if at >= 0 else 0  # index of the last piece
    if not last:
        return open_file(archive)
    pieces = [archive.with_suffix(f".z{number:02}") for number in range(1, last + 1)]
    missing = [piece.name for piece in pieces if not piece.exists()]
    if missing:
        raise ArchiveError(
            f"{archive} is split: expected {', '.join(missing)} in the same folder, found nothing of this name; "
            "download all pieces"
        )
    joined = _Joined([*pieces, archive])
    _join_directory(joined, END.unpack_from(tail, at))
    return io.BufferedReader(joined)


def _join_directory(joined: "_Joined", end: Sequence[int]) -> None:
    """Rewrite the central directory of joined pieces with offsets from the start of the joined file.

    In a split archive offsets are relative to the start of a piece, which `zipfile` does not support. PKWARE's
    APPNOTE.TXT, section 4.3, defines the formats of the records.

    Args:
        joined: The joined pieces.
        end: The fields of the end of central directory record.
    """
    _, _, piece, _, count, size, offset, _ = end
    start = joined.position_of(piece, offset)
    if size > joined.size - start:
        raise zipfile.BadZipFile("its central directory is longer than the archive")
    joined.seek(start)
    reader = io.BufferedReader(joined)
    found = reader.read(size)
    reader.detach()
    written, at = bytearray(), 0
    for _ in range(count):
        fields = list(ENTRY.unpack_from(found, at))
        name, extra, comment, piece, offset = (*fields[10:14], fields[16])
        text = found[at + ENTRY.size :][: name + extra + comment]
        position = OFFSET.pack(1, 8, joined.position_of(piece, offset))  # 64 bits, because pieces can have gigabytes
        fields[11], fields[13], fields[16] = extra + len(position), 0, 0xFFFFFFFF
        written += ENTRY.pack(*fields) + text[:name] + position + text[name:]
        at += ENTRY.size + len(text)
    end64 = END64.pack(b"PK\6\6", END64.size - 12, 45, 45, 0, 0, count, count, len(written), start)
    locator = LOCATOR.pack(b"PK\6\7", 0, start + len(written), 1)
    last = END.pack(END_RECORD, 0, 0, count, count, 0xFFFFFFFF, 0xFFFFFFFF, 0)  # size and offset are in `end64`
    joined.end_with(start, bytes(written) + end64 + locator + last)


class _Joined(io.RawIOBase):
    """A read-only file that concatenates several files."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.files: list[BinaryIO] = [open_file(path) for path in paths]
        *self.starts, self.size = accumulate((path.stat().st_size for path in paths), initial=0)
        self.position = 0

    def position_of(self, number: int, offset: int) -> int:
        """Convert an offset in one of the files to an offset in the joined file."""
        if number >= len(self.starts) or self.starts[number] + offset > self.size:
            raise zipfile.BadZipFile(f"an entry points to byte {offset} of piece {number + 1} of {len(self.starts)}")
        return self.starts[number] + offset

    def end_with(self, start: int, content: bytes) -> None:
        """Replace everything from a position on."""
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
