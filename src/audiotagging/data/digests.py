"""The digests of the sounds of a data folder, by which the same data are known again wherever they lie.

Reading 33 GB takes minutes. So the digests are kept in the folder for downloads, beside what is unpacked there, and
only files with another path, size or modification time are read again. As with make and rsync, a file escapes that
gets other content of the same size and the same time, as by `touch -r` or by an archive that gives all files one time.
Who does that removes the folder of the digests, and the next run reads everything.

What is kept is never trusted further than that: what is damaged, a link, or not ours counts as nothing and is replaced.
Nothing is ever written to the data folder.
"""

import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_file, open_file
from audiotagging.base.locks import LOCK, file_lock, is_ours
from audiotagging.base.progress import track
from audiotagging.base.removal import is_marked, remove, remove_leftovers
from audiotagging.base.tables import check_columns, read_parquet, write_parquet
from audiotagging.base.wording import pluralize

DIGESTS = ".audiotagging.digests"  # in the folder for downloads
THREADS = 8  # volumes on a network read several files at once faster; hashing releases Python's lock
KEEP_SECONDS = 60.0  # of work, which is what a killed process loses
RECENT = 2.0  # seconds, the coarsest times of a file system (FAT)

SCHEMA = pa.schema(
    [
        pa.field("path", pa.binary(), nullable=False),  # relative to the data folder
        pa.field("size", pa.int64(), nullable=False),
        pa.field("time", pa.int64(), nullable=False),  # of its modification, in nanoseconds since 1970
        pa.field("digest", pa.string(), nullable=False),
    ]
)

State = tuple[int, int]  # size and modification time

logger = logging.getLogger(__name__)


def sound_digests(folder: Path, paths: Iterable[str], *, downloads: Path | None = None) -> dict[str, str]:
    """Return the SHA-256 digests of sounds, reading only files that are new or have another size or time.

    Args:
        folder: The data folder.
        paths: Paths of its sounds. A path may be there several times.
        downloads: The folder for downloads, in which the digests are kept. None keeps none and reads all files.

    Returns:
        The digests in hexadecimal digits by path; "" for a file that cannot be read.

    Raises:
        UserError: If a file changes while it is read.
    """
    kept = Kept(folder, _kept_file(folder, downloads) if downloads else None)
    kept.read()
    if downloads and kept.file is None:
        logger.warning(
            "every run reads all sounds, because %s is in the data folder, where nothing is written; name another "
            "folder with --downloads",
            downloads,
        )
    found = {path: kept.find(path) for path in dict.fromkeys(paths)}
    missing = [path for path, digest in found.items() if not digest]
    if missing:
        found |= _read_sounds(missing, kept)
    return found


def _digests_folder(folder: Path, downloads: Path) -> Path | None:
    """Return where the digests of a data folder are kept, or None if the folder for downloads is in the data folder."""
    return None if downloads.resolve().is_relative_to(folder.resolve()) else downloads / DIGESTS


def prepare_digests(folder: Path, downloads: Path) -> list[Path]:
    """Create the folder for the digests of a data folder, for a container that gets it. Empty if that is impossible."""
    where = _digests_folder(folder, downloads)
    if where is None or where.is_symlink():
        return []
    with contextlib.suppress(OSError):
        where.mkdir(parents=True, exist_ok=True)
    return [where] if os.access(where, os.W_OK | os.X_OK) else []


def _kept_file(folder: Path, downloads: Path) -> Path | None:
    """Return the file with the digests of a data folder, which is named after the path of that folder."""
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    where = _digests_folder(folder, downloads)
    return where and where / f"{name}.parquet"


@dataclass
class Kept:
    """The digests that are kept of the sounds of a folder.

    Attributes:
        folder: The data folder.
        file: The file that they are kept in. None if they are not kept.
        digests: The state that each file had, and its digest, by its path relative to the folder.
    """

    folder: Path
    file: Path | None
    digests: dict[bytes, tuple[State, str]] = field(default_factory=dict)

    def find(self, path: str) -> str:
        """Return the digest of a file, or "" if it is not known."""
        state, digest = self.digests.get(self._name(path), ((0, 0), ""))
        return digest if state == _state(Path(path).stat()) else ""

    def add(self, path: str, state: State, digest: str) -> None:
        """Add the digest of a file."""
        self.digests[self._name(path)] = state, digest

    def _name(self, path: str) -> bytes:
        return os.fsencode(os.path.relpath(path, self.folder))

    def read(self) -> None:
        """Read the digests. What is damaged, a link, or of somebody else holds none."""
        if self.file is None or self.file.parent.is_symlink() or not is_marked(self.file.parent, LOCK):
            return
        try:
            if not is_ours(self.file.lstat(), self.file.parent.stat()):
                raise UserError(f"{self.file}: expected a file of this program, found something else")
            table = read_parquet(self.file)
            check_columns(self.file, table, SCHEMA)
        except FileNotFoundError:
            return
        except (OSError, UserError) as error:
            logger.warning("the digests that are kept of the sounds are not used: %s", error)
            return
        names, sizes, times, digests = (table[column].to_pylist() for column in SCHEMA.names)
        states = zip(sizes, times, strict=True)
        self.digests = dict(zip(names, zip(states, digests, strict=True), strict=True))

    def write(self) -> bool:
        """Write the digests, and return whether that was possible."""
        if self.file is None:
            return False
        rows = [(name, *state, digest) for name, (state, digest) in self.digests.items()]
        table = pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA)
        folder = self.file.parent
        try:
            if folder.is_symlink():
                raise UserError(f"{folder}: expected a folder, found a link")
            folder.mkdir(parents=True, exist_ok=True)
            with file_lock(folder / LOCK):
                remove_leftovers(folder, marker=LOCK)
                if self.file.is_symlink():
                    remove(folder, self.file.name, marker=LOCK)
                with atomic_file(self.file) as partial:
                    write_parquet(partial, table)
        except (OSError, UserError) as error:
            logger.warning("the digests of the sounds cannot be kept, so the next run reads all of them: %s", error)
            return False
        return True


def _read_sounds(paths: Sequence[str], kept: Kept) -> dict[str, str]:
    """Read sounds, and return their digests by path. Those that a later change would give another time are kept."""
    found = {}
    start, size = time.monotonic(), sum(Path(path).stat().st_size for path in paths)
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            running = {pool.submit(_hash, Path(path)): path for path in paths}
            last = start
            for future in track(as_completed(running), label=f"read {size / 1e9:.1f} GB of sounds", total=len(running)):
                path, (state, digest, is_final) = running[future], future.result()
                found[path] = digest
                if is_final:
                    kept.add(path, state, digest)
                if time.monotonic() - last > KEEP_SECONDS:
                    kept.write()
                    last = time.monotonic()
        finally:
            pool.shutdown(cancel_futures=True)
            is_kept = kept.write()
    seconds = time.monotonic() - start
    logger.log(
        logging.INFO if seconds >= 1 else logging.DEBUG,  # what takes no time is not worth a line
        "read %s to know the same data again: %.2f GB in %.1f s%s",
        pluralize(len(paths), "sound"),
        size / 1e9,
        seconds,
        "; later runs read only those that are new or have changed" if is_kept else "",
    )
    if unreadable := [path for path in paths if not found[path]]:
        logger.warning("%s cannot be read, such as %s", pluralize(len(unreadable), "sound"), unreadable[0])
    return found


def _hash(path: Path) -> tuple[State, str, bool]:
    """Return the state of a file, its digest, and whether every change from now on would change its state.

    A file that was changed a moment ago can change again in the same tick of its file system's clock.

    Raises:
        UserError: If the file changes while it is read.
    """
    began = time.time()
    try:
        with open_file(path) as file:
            state = _state(os.fstat(file.fileno()))
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if _state(path.stat()) != state:
            raise UserError(f"{path} has changed while it was read; wait until it is complete, and try again")
    except OSError:  # `preprocess` says what is wrong with it
        return (0, 0), "", False
    return state, digest, abs(began - state[1] / 1e9) > RECENT


def _state(state: os.stat_result) -> State:
    return state.st_size, state.st_mtime_ns
