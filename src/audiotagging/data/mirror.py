"""A folder or file of an object store on this machine: fetched once, checked, and kept as it is there."""

import base64
import hashlib
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType

from audiotagging.errors import UserError
from audiotagging.files import whole_file
from audiotagging.object_store import open_store, store_errors
from audiotagging.progress import track

THREADS = 24  # files at once; pyarrow has 25 connections to a store
CHUNK = 8 << 20  # bytes of one request
TRIES = 3  # of a file whose content does not have its checksum


@dataclass(frozen=True)
class StoredFile:
    """A file in an object store.

    Attributes:
        url: What was listed when it was found, for messages.
        store: The store.
        info: What the store says of it: path, size, time.
    """

    url: str
    store: FileSystem
    info: FileInfo


def mirror(url: str, folder: Path) -> None:
    """Make a folder hold what lies below a URL.

    What is there already, with the size and the time of the object, is not fetched again, and what the store no longer
    has is removed. A file has its name only when it is complete.

    Args:
        url: A folder as `audiotagging.object_store.open_store` takes it.
        folder: Where the files go; nothing else may lie there.

    Raises:
        UserError: If the store cannot be read, there is no such folder in it, or the disk is too small.
    """
    files = list_files(url)
    if not files or "" in files:
        raise UserError(f"{url}: expected a folder with files in it, found {'a file' if files else 'none'}")
    folder.mkdir(parents=True, exist_ok=True)
    fetch_all({folder / name: file for name, file in files.items() if not _arrived(file.info, folder / name)}, folder)
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in files:
            path.unlink()


def list_files(url: str, *, endpoint: str = "") -> dict[str, StoredFile]:
    """Return the files below a URL by their names there; with the name "" if it is the URL of a file.

    Args:
        url: A folder or a file.
        endpoint: Where an S3 store is; see `audiotagging.object_store.open_store`.

    Raises:
        UserError: If the store cannot be read, or there is nothing of this name in it.
    """
    store, root = open_store(url, endpoint=endpoint)
    with store_errors(url):
        found = [store.get_file_info(root)]
        if found[0].type != FileType.File:
            found = store.get_file_info(FileSelector(root, recursive=True))
    infos = {info.path.removeprefix(root).lstrip("/"): info for info in found if info.type == FileType.File}
    outside = [name for name in infos if ".." in PurePosixPath(name).parts]
    if outside:
        raise UserError(f"{url}: the name {outside[0]!r} points outside the folder")
    return {name: StoredFile(url, store, info) for name, info in infos.items()}


def fetch_all(files: Mapping[Path, StoredFile], folder: Path) -> None:
    """Fetch files by many threads, showing how many have come.

    Args:
        files: The files by where they go.
        folder: The folder that all of that lies in.

    Raises:
        UserError: If one cannot be read, or the disk is too small.
    """
    size, free = sum(file.info.size for file in files.values()), shutil.disk_usage(folder).free
    if size > free:
        raise UserError(f"{folder} needs {size:,} bytes more, and has {free:,} left")
    pool = ThreadPoolExecutor(THREADS)
    try:
        fetched = [pool.submit(fetch, file, path) for path, file in files.items()]
        for future in track(as_completed(fetched), label=f"files of {size / 1e6:,.0f} MB", total=len(fetched)):
            future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def fetch(file: StoredFile, path: Path) -> None:
    """Fetch one file, with the time that it has in the store, and check it by its size and its MD5 sum if it has one.

    Args:
        file: The file.
        path: Where it goes; its folder is made if need be.

    Raises:
        UserError: If it cannot be read, or is not what the store says after a few tries.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    info, previous = file.info, ""
    with whole_file(path) as part:
        for _ in range(TRIES):
            expected, size, found = _copy(file, part)
            # What comes twice the same is what is there: stores that encrypt have ETags that are no MD5 sums.
            if size == info.size and (found == previous or found == (expected or found)):
                os.utime(part, ns=(info.mtime_ns, info.mtime_ns))
                return
            previous = found
        raise UserError(
            f"{file.url}: expected {info.size:,} bytes with the MD5 sum {expected or 'of any kind'} in {info.path}, "
            f"found {size:,} with {found}; does somebody write it? Try again"
        )


def _copy(file: StoredFile, target: Path) -> tuple[str, int, str]:
    """Copy a file, and return the MD5 sum that the store says, its size, and the MD5 sum that it has."""
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with target.open("wb") as copy:
        with store_errors(file.url):
            stream = file.store.open_input_stream(file.info.path)
            expected = _md5(stream.metadata() or {})
        while True:
            with store_errors(file.url):
                chunk = stream.read(CHUNK)
            if not chunk:
                return expected, size, digest.hexdigest()
            digest.update(chunk)
            size += copy.write(chunk)


def _md5(metadata: Mapping[str, bytes]) -> str:
    """Return an object's MD5 sum in hexadecimal digits; empty if its store does not say it.

    S3 has it as the ETag, unless the object was uploaded in several parts, whose ETag is `DIGITS-NUMBER`.
    """
    if google := metadata.get("md5Hash"):
        return base64.b64decode(google).hex()
    etag = metadata.get("ETag", b"").decode().strip('"')
    return etag if len(etag) == 32 and not set(etag) - set("0123456789abcdef") else ""


def _arrived(info: FileInfo, path: Path) -> bool:
    """Say whether a file is here as it is in the store, whose times have whole seconds."""
    if not path.is_file():
        return False
    state = path.stat()
    return state.st_size == info.size and int(state.st_mtime) == info.mtime_ns // 10**9
