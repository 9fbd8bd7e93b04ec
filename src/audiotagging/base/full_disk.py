"""What to say when a disk or a volume is full: which file, which volume, how much is left, and how much it takes."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)  # the disk, or what its user may use of it
LITTLE = 2**20  # bytes, with which a disk counts as full
UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def is_full(error: BaseException) -> bool:
    """Return whether an exception says that a disk is full."""
    return isinstance(error, OSError) and error.errno in FULL


@contextmanager
def needing(size: int) -> Iterator[None]:
    """Let an error about a full disk in this block say how many bytes are written there."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            error.add_note(f"{readable(size)} are needed")
        raise


def describe(error: OSError, *, temporary: str) -> str:
    """Return what to say of a full disk, in one line.

    Args:
        error: The error of the system.
        temporary: The folder for temporary files, which may be what is full if the error names no file.
    """
    reason = os.strerror(error.errno or errno.ENOSPC)
    path = str(error.filename2 or error.filename or "")
    if not path:
        place = f"{temporary}, for temporary files" if _free(temporary) < LITTLE else "the output"
        return f"{place}: {reason}; free some space"
    needed = "".join(f", {note}" for note in getattr(error, "__notes__", []))
    return f"{path}: {reason}; {_volume(Path(path))}{needed}; free some space, or enlarge it"


def _volume(path: Path) -> str:
    """Return the volume that a file is on, with how much of it is free."""
    with contextlib.suppress(OSError):
        place = next(each for each in path.absolute().parents if each.is_dir())
        usage = shutil.disk_usage(place)
        mount = next(each for each in (place.resolve(), *place.resolve().parents) if each.is_mount())
        return f"of the volume {mount} {readable(usage.free)} of {readable(usage.total)} are free"
    return "its volume is full"


def _free(folder: str) -> float:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return float("inf")


def readable(size: float) -> str:
    """Format a number of bytes.

    Examples:
        >>> readable(312_400_000), readable(2_000), readable(0)
        ('312 MB', '2 kB', '0 kB')
    """
    scale, unit = next(((scale, unit) for scale, unit in UNITS if size >= scale), UNITS[-1])
    return f"{size / scale:.3g} {unit}"
