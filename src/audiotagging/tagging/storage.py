"""Folders of files on this machine and in object stores, behind one interface. Names are relative to the folder."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

from pyarrow.fs import FileType

from audiotagging.base.files import atomic_file, walk
from audiotagging.base.object_store import open_store, store_errors
from audiotagging.base.removal import LEFTOVER, remove, remove_leftovers
from audiotagging.data.mirror import CHUNK, StoredFile, fetch, list_files
from audiotagging.sounds.formats import is_hidden
from audiotagging.tagging.output_folder import SETTINGS


class State(NamedTuple):
    """What tells whether a file has changed.

    Attributes:
        size: Its size in bytes.
        modified: When it was last written, in nanoseconds since 1970.
    """

    size: int
    modified: int


class Storage(Protocol):
    """A folder, which may not exist yet."""

    def list(self, folder: str = "") -> dict[str, State]:
        """Return all files below a folder in it by their names."""

    def state(self, name: str) -> State | None:
        """Return the state of a file, or None if there is none of this name."""

    def local(self, name: str) -> AbstractContextManager[Path]:
        """Provide a path on this machine where a file can be read until the block ends."""

    def put(self, name: str, source: Path) -> None:
        """Copy a file to the folder. It appears under its name when it is complete."""

    def remove(self, name: str) -> None:
        """Remove a file of results if it exists."""

    def remove_leftovers(self) -> None:
        """Remove what killed processes left of files of results."""


def open_storage(location: str) -> Storage:
    """Return the folder with a path, or with a URL as `audiotagging.base.object_store.open_store` takes it.

    Raises:
        UserError: If it is a URL of another form, or if the store cannot be reached.
    """
    return _Bucket(location) if "://" in location else _Folder(Path(location))


class _Folder:
    """A folder on this machine. Links to folders are not followed, and what is only half written is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def list(self, folder: str = "") -> dict[str, State]:
        paths = []
        for above, folders, names in walk(self.path / folder) if (self.path / folder).is_dir() else ():
            folders[:] = [name for name in folders if not is_hidden(name)]
            paths += [above / name for name in names if not LEFTOVER.fullmatch(name)]
        states = {str(path.relative_to(self.path)): _state(path) for path in paths}
        return {name: state for name, state in states.items() if state}

    def state(self, name: str) -> State | None:
        return _state(self.path / name)

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        yield self.path / name

    def put(self, name: str, source: Path) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(self.path / name) as partial:
            shutil.copyfile(source, partial)

    def remove(self, name: str) -> None:
        remove(self.path, name, marker=SETTINGS)

    def remove_leftovers(self) -> None:
        remove_leftovers(self.path, marker=SETTINGS)


class _Bucket:
    """A folder in an object store, where a file appears when it is complete."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.store, self.root = open_store(self.url)

    def list(self, folder: str = "") -> dict[str, State]:
        found = list_files(f"{self.url}/{folder}".rstrip("/"), may_be_missing=True)
        return {str(PurePosixPath(folder, name)): _state_of(file) for name, file in found.items()}

    def state(self, name: str) -> State | None:
        file = self._file(name)
        return _state_of(file) if file.info.type == FileType.File else None

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, PurePosixPath(name).name)
            fetch(self._file(name), path)
            yield path

    def put(self, name: str, source: Path) -> None:
        with (
            store_errors(self.url, what="written"),
            source.open("rb") as content,
            self.store.open_output_stream(f"{self.root}/{name}") as stream,
        ):
            shutil.copyfileobj(content, stream, CHUNK)

    def remove(self, name: str) -> None:
        if self.state(name):
            with store_errors(self.url, what="written"):
                self.store.delete_file(f"{self.root}/{name}")

    def remove_leftovers(self) -> None:
        pass

    def _file(self, name: str) -> StoredFile:
        with store_errors(self.url):
            return StoredFile(self.url, self.store, self.store.get_file_info(f"{self.root}/{name}"))


def _state(path: Path) -> State | None:
    try:
        found = path.stat()
    except FileNotFoundError:  # it has just been removed, or it is a link to nothing
        return None
    return State(found.st_size, found.st_mtime_ns)


def _state_of(file: StoredFile) -> State:
    return State(file.info.size, file.info.mtime_ns)
