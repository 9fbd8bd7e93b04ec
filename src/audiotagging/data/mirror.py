"""Mirrors folders and files of an object store on this machine: fetches only what changed, and checks all of it."""

import base64
import hashlib
import os
import shutil
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType

from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_file
from audiotagging.base.locks import LOCK, file_lock
from audiotagging.base.object_store import open_store, store_errors
from audiotagging.base.progress import track
from audiotagging.base.removal import LEFTOVER, is_marked, remove, remove_leftovers
from audiotagging.base.typed_json import read_json, write_json

FETCHED = ".audiotagging.fetched"  # the names of the files that were fetched, as a list
THREADS = 24  # files to fetch at once; pyarrow opens up to 25 connections to a store
CHUNK = 8 << 20  # bytes per request
FILLS = (b"\x5a", b"\xa5", b"\xc3")  # of the memory that is read into, in each attempt to fetch a file


@dataclass(frozen=True)
class StoredFile:
    """A file in an object store.

    Attributes:
        url: The URL that was listed, for messages.
        store: The store.
        info: Path, size and modification time of the file in the store.
    """

    url: str
    store: FileSystem
    info: FileInfo


def mirror(url: str, folder: Path) -> None:
    """Make a local folder equal to a folder in an object store.

    Files with the same size and modification time as in the store are not fetched again, and files that were fetched
    and that the store no longer has are removed. A file gets its name only when it is complete.

    Args:
        url: A folder, as `audiotagging.base.object_store.open_store` takes it.
        folder: The local folder. It must contain nothing else but hidden files.

    Raises:
        UserError: If the store cannot be read, if it has no such folder, if there are other files in the local one, or
            if the disk is full.
    """
    files = {name: file for name, file in list_files(url).items() if name not in (LOCK, FETCHED)}  # ours are here
    if not files or "" in files:
        raise UserError(f"{url}: expected a folder with files in it, found {'a file' if files else 'no files'}")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not is_marked(folder, LOCK):
        raise UserError(f"{folder}: expected a mirror of {url}, found files of another kind; move them elsewhere")
    with file_lock(folder / LOCK):
        fetched = _fetched(folder, files)
        write_json(folder / FETCHED, sorted(fetched.union(files)))  # first, so that a killed program's files are known
        missing = {name: file for name, file in files.items() if not _arrived(file.info, folder / name)}
        fetch_all({folder / name: file for name, file in missing.items()}, folder)
        for name in fetched.difference(files):
            remove(folder, name)
        remove_leftovers(folder)
        write_json(folder / FETCHED, sorted(files))


def _fetched(folder: Path, files: Collection[str]) -> set[str]:
    """Return the names of the files that were fetched to a folder before.

    Raises:
        UserError: If there are others, except hidden ones, which no data set is read from.
    """
    recorded = (folder / FETCHED).is_file()  # earlier versions recorded nothing
    known = set(read_json(folder / FETCHED, list[str])) if recorded else set(files)
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts) or LEFTOVER.fullmatch(path.name)
        if name.as_posix() not in known and not hidden and not (path.is_dir() and not path.is_symlink()):
            raise UserError(
                f"{folder}: expected only files that were fetched, found {name.as_posix()}; move it elsewhere"
            )
    return known


def list_files(url: str, *, endpoint: str = "", may_be_missing: bool = False) -> dict[str, StoredFile]:
    """List the files below a URL.

    Args:
        url: A folder or a file.
        endpoint: URL of an S3 store, as for `audiotagging.base.object_store.open_store`.
        may_be_missing: Whether the result is empty if the store has nothing of this name.

    Returns:
        The files by their paths below the URL. If the URL is that of a file, its path is "".

    Raises:
        UserError: If the store cannot be read, or if it has nothing of this name.
    """
    store, root = open_store(url, endpoint=endpoint)
    with store_errors(url):
        found = [store.get_file_info(root)]
        if found[0].type != FileType.File:
            found = store.get_file_info(FileSelector(root, recursive=True, allow_not_found=may_be_missing))
    infos = {info.path.removeprefix(root).lstrip("/"): info for info in found if info.type == FileType.File}
    outside = [name for name in infos if ".." in PurePosixPath(name).parts]
    if outside:
        raise UserError(f"{url}: expected names within this folder, found {outside[0]!r}; rename that file")
    return {name: StoredFile(url, store, info) for name, info in infos.items()}


def fetch_all(files: Mapping[Path, StoredFile], folder: Path) -> None:
    """Fetch files with several threads, and show the progress.

    Args:
        files: The files by their local paths.
        folder: The local folder that contains all of these paths.

    Raises:
        UserError: If a file cannot be read, or if the disk is full.
    """
    size, free = sum(file.info.size for file in files.values()), shutil.disk_usage(folder).free
    if size > free:
        raise UserError(f"{folder}: expected {size:,} free bytes for the files, found {free:,}; free some space")
    pool = ThreadPoolExecutor(THREADS)
    try:
        fetched = [pool.submit(fetch, file, path) for path, file in files.items()]
        for future in track(as_completed(fetched), label=f"files of {size / 1e6:,.0f} MB", total=len(fetched)):
            future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def fetch(file: StoredFile, path: Path) -> None:
    """Fetch one file with its modification time, and check its size and, if the store has one, its MD5 sum.

    Args:
        file: The file.
        path: The local path. Its folder is created if needed.

    Raises:
        UserError: If the file cannot be read, or if its content differs from the store's description in every attempt.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    info, previous = file.info, ""
    with atomic_file(path) as partial:
        for fill in FILLS:
            expected, size, found = _copy(file, partial, fill=fill)
            # The same content twice is correct even if the ETag differs: encrypted objects have ETags of another kind.
            if size == info.size and (found == previous or found == (expected or found)):
                os.utime(partial, ns=(info.mtime_ns, info.mtime_ns))
                return
            previous = found
        raise UserError(
            f"{file.url}: expected {info.size:,} bytes with {f'the MD5 sum {expected}' if expected else 'any MD5 sum'} "
            f"in {info.path}, found {size:,} with {found}; make sure that nobody writes to it, and try again"
        )


def _copy(file: StoredFile, target: Path, *, fill: bytes) -> tuple[str, int, str]:
    """Copy a file, and return the MD5 sum that the store states, the size, and the MD5 sum of the content.

    If a store sends less than it states, pyarrow leaves the rest of the memory as it was. So the last byte does not
    count if it is the one that was there before: content of the store is there with another byte too.
    """
    digest, size = hashlib.md5(usedforsecurity=False), 0
    before = fill * min(CHUNK, max(1, file.info.size + 1))
    memory = bytearray(before)
    with target.open("wb") as copy:
        with store_errors(file.url):
            stream = file.store.open_input_stream(file.info.path)
            expected = _md5(stream.metadata() or {})
        while True:
            memory[:] = before
            with store_errors(file.url):
                count = stream.readinto(memory)
            if not count:
                return expected, size, digest.hexdigest()
            with memoryview(memory)[:count] as chunk:
                digest.update(chunk)
                copy.write(chunk)
            size += count - (memory[count - 1 : count] == fill)


def _md5(metadata: Mapping[str, bytes]) -> str:
    """Return the MD5 sum of an object in hexadecimal digits, or "" if the store does not state it.

    In S3 it is the ETag, unless the object was uploaded in several parts; then the ETag is `DIGITS-NUMBER`.
    """
    if google := metadata.get("md5Hash"):
        return base64.b64decode(google).hex()
    etag = metadata.get("ETag", b"").decode().strip('"')
    return etag if len(etag) == 32 and not set(etag) - set("0123456789abcdef") else ""


def _arrived(info: FileInfo, path: Path) -> bool:
    """Return whether a local file has the size and time of the stored file. Stores have times in whole seconds."""
    if not path.is_file():
        return False
    state = path.stat()
    return state.st_size == info.size and int(state.st_mtime) == info.mtime_ns // 10**9
