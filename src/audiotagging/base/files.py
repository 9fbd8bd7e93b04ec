"""Atomic files and folders, which appear only when they are complete.

They are written under another name in the same directory, written to disk (`fsync`), and then renamed, so that they are
also complete if the machine fails. They are removed if an error occurs.

What is opened is a regular file, and so is what is replaced: opening a pipe waits for ever, and a device is lost if a
file takes its place.
"""

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TextIO

from audiotagging.base.errors import UserError
from audiotagging.base.removal import MARKER, is_marked
from audiotagging.base.working_folder import empty, working_folder

SYNC_THREADS = 16
FILE = "a regular file"
NO_SYNC = (errno.EINVAL, errno.ENOTSUP)  # of file systems that cannot sync a folder


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Provide an empty folder that is renamed to `path` when the block ends without an error.

    It is in the working folder `NAME.part` beside it. What a killed process left there is removed.

    Args:
        path: The folder to create. If it exists when the block ends, it must be empty.

    Raises:
        UserError: If this program did not make `NAME.part`, or if another process works in it.
    """
    with named(path), working_folder(partial_of(path)) as work:
        empty(work)
        partial = work / path.name
        partial.mkdir()
        try:
            yield partial
            publish(partial, path)
        except BaseException:
            empty(work)
            raise


def remove_partial(path: Path) -> None:
    """Remove the working folder of `atomic_folder` that a process left that was killed when its folder was complete.

    Raises:
        UserError: If another process works in it.
    """
    if is_marked(partial_of(path), MARKER):
        with working_folder(partial_of(path)):
            pass


def partial_of(path: Path) -> Path:
    """Return the working folder of `atomic_folder`."""
    return path.parent / f"{path.name}.part"  # the root has no name


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Provide the path of a temporary file that is renamed to `path` when the block ends without an error.

    Its name ends with random digits and `.part`. A process that is killed leaves it behind; in folders of this program
    the next command removes it (`removal.remove_leftovers`), which the lock on it prevents while this process lives.

    Args:
        path: The file to create or replace.

    Raises:
        UserError: If something else than a regular file is there, or if its folder cannot be written.

    Examples:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with atomic_file(folder / "scores.json") as partial:
        ...     _ = partial.write_text("0.75")
        ...     (folder / "scores.json").exists()
        False
        >>> [file.name for file in folder.iterdir()]
        ['scores.json']
    """
    check_target(path)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    file = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with contextlib.suppress(OSError):  # some volumes have no locks
            fcntl.flock(file, fcntl.LOCK_SH)
        with named(path):
            yield partial
            publish(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        os.close(file)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Let an error of the system in this block name a path, such as the one on a full disk, if it names none."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename is None:
            error.filename = str(path)
        raise


def check_target(path: Path) -> Path:
    """Check that a file can be written, before any work is done for it, and return its path.

    Raises:
        UserError: If something else than a regular file is there, or if its folder does not exist or is read-only.
    """
    if path.name in ("", ".."):
        raise UserError(f"expected the path of a file to write, found {str(path)!r}; name a file")
    try:
        found = kind_of(path.lstat().st_mode)
    except FileNotFoundError:
        found = ""
    except OSError as error:
        raise UserError(f"{path}: expected a file that can be written, found none ({error.strerror})") from error
    if found not in ("", FILE):
        raise UserError(f"{path}: expected a new file, or a file to replace, found {found}; name another")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{path}: expected a file in a folder that exists, found no such folder; create it first")
    if not os.access(path.absolute().parent, os.W_OK | os.X_OK):
        raise UserError(f"{path}: expected a file in a folder that can be written, found a read-only one; name another")
    return path


def kind_of(mode: int) -> str:
    """Return what is at a path, from the mode that `stat` states, for a message."""
    kinds = {stat.S_IFREG: FILE, stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe"}
    return kinds.get(stat.S_IFMT(mode)) or ("a socket" if stat.S_ISSOCK(mode) else "a device")


def open_file(path: Path) -> io.BufferedReader:
    """Open a regular file, or a link to one, for reading bytes. Nothing else is opened, and nothing waits.

    Raises:
        OSError: If it is not a regular file, or cannot be read.
    """
    _check_regular(path, path.stat().st_mode)  # before it is opened, which may already do something to a device
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115
    try:
        _check_regular(path, os.fstat(file.fileno()).st_mode)
    except OSError:
        file.close()
        raise
    return file


def open_text(path: Path, *, errors: str = "strict", newline: str | None = None) -> TextIO:
    """Open a regular file for reading text in UTF-8, with or without a byte order mark, as `open_file` does.

    Args:
        path: The file.
        errors: What happens to bytes that are not UTF-8, as for `open`.
        newline: Which line endings are changed, as for `open`.

    Raises:
        OSError: As `open_file` raises it.
    """
    return io.TextIOWrapper(open_file(path), encoding="utf-8-sig", errors=errors, newline=newline)


def _check_regular(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"expected a regular file, found {kind_of(mode)}", str(path))


def regular(path: Path) -> Path:
    """Return the path of a regular file, for a library that opens it by itself.

    Raises:
        OSError: As `open_file` raises it.
    """
    open_file(path).close()
    return path


def publish(partial: Path, path: Path) -> None:
    """Write a file, or a folder with everything in it, to disk, and then rename it.

    Args:
        partial: The complete file or folder.
        path: Its new path on the same volume. A file there is replaced; a folder there must be empty.
    """
    sync(partial)
    move(partial, path)


def move(path: Path, target: Path) -> None:
    """Rename a file or a folder that is on disk, and wait until its new name is too.

    Args:
        path: The file or folder.
        target: Its new path on the same volume. A file there is replaced; a folder there must be empty.
    """
    path.replace(target)
    _sync(target.parent)


def sync(path: Path) -> None:
    """Wait until a file, or a folder with everything in it, is on disk.

    With threads, a file system writes many files at once: 5000 files of 64 kB took 0.7 s instead of 25 s on ext4.
    """
    paths = [path, *(each for each in path.rglob("*") if not each.is_symlink())]
    with ThreadPoolExecutor(SYNC_THREADS) as pool:
        list(pool.map(_sync, paths))


def _sync(path: Path) -> None:
    """Wait until a file is on disk, or until the list of names in a folder is."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (path.is_dir() and error.errno in NO_SYNC):
            raise
    finally:
        os.close(descriptor)


def walk(folder: Path, *, follow: bool = False) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield every folder below a folder, with the names of the folders and of the files in it, as `os.walk` does.

    Args:
        folder: The folder. It comes first.
        follow: Whether links to folders are followed.

    Raises:
        OSError: If one of them cannot be listed, which `os.walk` and `Path.rglob` leave out without a word.
    """

    def refuse(error: OSError) -> None:
        raise error

    for above, folders, names in os.walk(folder, onerror=refuse, followlinks=follow):
        yield Path(above), folders, names


def path_text(path: PurePath | str) -> str:
    r"""Return a path as text, with bytes that are not UTF-8 as in `\xff`."""
    return os.fsencode(path).decode(errors="backslashreplace")


def digest(paths: Iterable[Path]) -> str:
    """Return the SHA-256 digest of files, and of all files in folders with their names, in hexadecimal digits.

    Raises:
        OSError: If a file does not exist or cannot be read.
    """
    total = hashlib.sha256()
    for path in paths:
        files = sorted(each for each in path.rglob("*") if not each.is_dir()) if path.is_dir() else [path]
        for file in files:
            total.update(f"{file.relative_to(path)} {sha256(file)}\n".encode())
    return total.hexdigest()


def sha256(path: Path) -> str:
    """Return the SHA-256 digest of a file in hexadecimal digits."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require(folder: Path, *names: str, what: str) -> None:
    """Check that a folder contains what it should.

    Args:
        folder: The folder.
        names: Files and folders that it must contain.
        what: What the folder should be, for the message, such as "the output of a run".

    Raises:
        UserError: If one of them is missing.
    """
    for name in names:
        if not (folder / name).exists():
            raise UserError(f"{folder}: expected {what}, found no {name} in it")
