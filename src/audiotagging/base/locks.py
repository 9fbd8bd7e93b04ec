"""Locks on files: they exclude other processes, in containers too, and on other machines if the volume supports that.

The system releases a lock when the process that holds it ends, for whatever reason. The locked file says who holds it.
Where others may write to the folder, they may have put a link or something else in its place: that is refused.
"""

import errno
import fcntl
import logging
import math
import os
import re
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from audiotagging.base.errors import UserError

LOCK = ".audiotagging.lock"  # the locked file in a folder that is not a working folder
POLL = 0.2  # seconds between two attempts
UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
HOLDER = re.compile(r"process \d+ on .*\n?|")  # the content of a locked file
LONGEST = 1000  # characters of it
ROOT, NOBODY = 0, 65_534  # the latter is who owns files whose owner a volume or a container does not know

logger = logging.getLogger(__name__)


@contextmanager
def file_lock(path: Path, *, wait: float = math.inf, shared: bool = False) -> Iterator[None]:
    """Hold a lock on a file until the block ends.

    If the volume has no locks, a warning says so, and the block runs without one.

    Args:
        path: The file, in a folder that exists. It is created if needed, and its content becomes the holder.
        wait: Seconds to wait while another process holds the lock.
        shared: Whether other processes may hold a shared lock too. Otherwise the lock is exclusive.

    Raises:
        UserError: If another process still holds the lock after that time, or if the file is not one of this program.
        FileNotFoundError: If the folder does not exist.
    """
    deadline, announced = time.monotonic() + wait, False
    while (file := _lock(path, shared=shared)) is None:
        holder = _holder(path)
        if time.monotonic() >= deadline:
            raise UserError(f"{path.parent} is in use by {holder}; wait until that has ended, and try again")
        if not announced:
            logger.info("waiting for %s, which uses %s", holder, path.parent)
            announced = True
        time.sleep(POLL)
    with file:
        try:
            yield
        finally:
            _unlock(file)  # closing the file is not enough if a forked process has a copy of it


def _lock(path: Path, *, shared: bool) -> TextIO | None:
    """Return the locked file, or None if another process holds the lock or has just removed the file."""
    file = _open(path)
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        if not _is_at(path, file):
            file.close()
            return None
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            file.close()
            if isinstance(error, BlockingIOError):
                return None
            raise
        logger.warning("%s: this volume has no locks; never let two runs use this folder at once", path.parent)
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    return file


def _open(path: Path) -> TextIO:
    """Open the file, which is created if needed. A link is not followed, and what is not ours stays as it is.

    Raises:
        UserError: If it is not a file that this program made.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK  # NFS locks only what can be written
    try:
        number = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise _foreign(path) from error
        raise
    if not is_ours(os.fstat(number), path.parent.stat()):
        os.close(number)
        raise _foreign(path)
    file = os.fdopen(number, "a+", encoding="utf-8", errors="replace")
    file.seek(0)
    if not HOLDER.fullmatch(file.read(LONGEST)):
        file.close()
        raise _foreign(path)
    return file


def _foreign(path: Path) -> UserError:
    return UserError(
        f"{path}: expected nothing of this name, or the file with which this program locks the folder, found something "
        "else; move it elsewhere, or name another folder"
    )


def is_ours(file: os.stat_result, folder: os.stat_result) -> bool:
    """Return whether a file may be one that this program made: a regular file of this user or of the folder's owner.

    Args:
        file: The state of the file itself, not of what a link leads to.
        folder: The state of its folder.
    """
    return stat.S_ISREG(file.st_mode) and file.st_uid in (os.geteuid(), folder.st_uid, ROOT, NOBODY)


def _is_at(path: Path, file: TextIO) -> bool:
    """Return whether the file is still the one of this path. Who held the lock before may have removed it."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _unlock(file: TextIO) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_UN)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "another process"
    except FileNotFoundError:
        return "another process"
