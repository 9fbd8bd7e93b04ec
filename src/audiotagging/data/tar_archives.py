"""Unpacks untrusted tar archives, and never writes outside the target folder."""

import lzma
import tarfile
import zlib
from pathlib import Path

from audiotagging.base.progress import track
from audiotagging.data.zip_archives import ArchiveError, check_size

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
