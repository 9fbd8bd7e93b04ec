"""Removes files and folders. Everything that this program removes is removed here, by one rule.

Removed is only what lies below a folder with our marker, by a path relative to that folder, on which there is no link.
Whoever calls this module names only what this program wrote. The one exception is the temporary file of `atomic_file`,
which removes it in the moment in which it has made it.
"""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path, PurePath

from audiotagging.base.errors import UserError
from audiotagging.base.locks import LOCK, is_ours

MARKER = ".audiotagging"  # of folders that are removed as a whole (`audiotagging.base.working_folder`)
MARKERS = (MARKER, LOCK)
# The name of what `atomic_file` leaves behind when it is killed.
LEFTOVER = re.compile(r".+\.[0-9a-f]{8}\.part")


def is_marked(folder: Path, *markers: str) -> bool:
    """Return whether a folder has a marker of this program. A link is none, and neither is a file of somebody else.

    Args:
        folder: The folder. It need not exist.
        markers: Names of files that mark it. By default they are `MARKERS`.
    """
    try:
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return _is_marked(directory, markers or MARKERS)
    finally:
        os.close(directory)


def _is_marked(directory: int, markers: tuple[str, ...]) -> bool:
    for name in markers:
        with contextlib.suppress(FileNotFoundError):
            if is_ours(os.stat(name, dir_fd=directory, follow_symlinks=False), os.fstat(directory)):
                return True
    return False


def remove(folder: Path, name: PurePath | str, *, marker: str | None = None) -> None:
    """Remove a file, or a folder with all its content, if it exists. Of a link, only the link itself is removed.

    Args:
        folder: A folder with our marker.
        name: What to remove, relative to the folder.
        marker: Name of the file that marks the folder. By default it is one of `MARKERS`.

    Raises:
        UserError: If the folder has no marker, or if there is a link on the way.
    """
    *above, last = PurePath(name).parts
    if PurePath(name).is_absolute() or ".." in (*above, last):
        raise ValueError(f"expected a path below {folder}, found {name}")
    with _opened(folder, above, marker) as directory:
        if directory is None:
            return
        try:
            state = os.stat(last, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(state.st_mode):
            shutil.rmtree(last, dir_fd=directory)  # follows no links below it
        else:
            os.unlink(last, dir_fd=directory)


def remove_leftovers(folder: Path, *, marker: str | None = None) -> None:
    """Remove the temporary files that killed processes left in a folder and below it. Those in use stay.

    Args:
        folder: A folder. If it does not exist or has no marker, nothing is removed.
        marker: As for `remove`.
    """
    if not is_marked(folder, *filter(None, [marker])):
        return
    with _opened(folder, [], marker) as directory:
        for _, _, names, here in os.fwalk(".", dir_fd=directory):  # follows no links
            for name in filter(LEFTOVER.fullmatch, names):
                _remove_unused(name, here)


def remove_broken_link(path: Path) -> None:
    """Remove a link that leads nowhere, and nothing else."""
    if path.is_symlink() and not path.exists():
        path.unlink()


def _remove_unused(name: str, directory: int) -> None:
    """Remove a temporary file, unless the process that made it lives: then it has a lock on it."""
    with contextlib.suppress(OSError):  # it is in use, has just been removed, or may not be
        file = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
        try:
            if stat.S_ISREG(os.fstat(file).st_mode):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(name, dir_fd=directory)
        finally:
            os.close(file)


@contextlib.contextmanager
def _opened(folder: Path, above: list[str], marker: str | None) -> Iterator[int | None]:
    """Provide a descriptor of a folder below a marked one, reached without a link, or None if there is none."""
    with contextlib.ExitStack() as stack:
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, directory)
        markers = (marker,) if marker else MARKERS
        if not _is_marked(directory, markers):
            raise UserError(
                f"{folder}: expected a folder that this program made, found no {' or '.join(markers)} of its own in "
                "it; nothing was removed"
            )
        for number, name in enumerate(above):
            try:
                directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            except FileNotFoundError:
                yield None
                return
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise
                raise UserError(
                    f"{folder.joinpath(*above[: number + 1])}: expected a folder, found a link or a file; nothing "
                    "behind it was removed"
                ) from error
            stack.callback(os.close, directory)
        yield directory
