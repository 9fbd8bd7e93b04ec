"""The cache of `run`: the outputs of stages, which later runs reuse, pruned to a size.

.kfp_cache/KEY.json   kfp's entry for a stage; its time is the start of the run that used it last
RUN/STAGE/...         the outputs that the entries name
checkpoints/          checkpoints of trainings that were interrupted
.audiotagging.lock    marks the folder as a cache

What else is in the folder is somebody else's, and stays.
"""

import argparse
import logging
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PurePath

from docker.errors import DockerException
from docker.utils import parse_bytes

from audiotagging.base.errors import UserError
from audiotagging.base.locks import LOCK, file_lock
from audiotagging.base.removal import MARKER, is_marked, remove, remove_leftovers
from commands.kfp_internals import RUN, entry_paths

ENTRIES, CHECKPOINTS = ".kfp_cache", "checkpoints"
KEY = re.compile("[0-9a-f]{64}")
OF_TRAINING = re.compile("[0-9a-f]{16}")  # the name of a folder of checkpoints

logger = logging.getLogger(__name__)


def cache_size(text: str) -> int:
    """Convert a size on the command line, such as "20g", to bytes.

    Raises:
        argparse.ArgumentTypeError: If it is not a valid size.
    """
    try:
        size = int(parse_bytes(text))
    except DockerException:
        size = -1
    if size < 0 or not text:  # Docker takes an empty text for 0
        raise argparse.ArgumentTypeError(f"expected a size such as 20g or 500m, found {text!r}")
    return size


def check_cache(root: Path) -> None:
    """Check that a folder is a cache, or can become one.

    Raises:
        UserError: If it holds anything else.
    """
    if root.is_dir() and any(root.iterdir()) and not is_marked(root, LOCK):
        raise UserError(
            f"--cache: expected a new or an empty folder, or the cache of an earlier run, found other files in {root}; "
            "name another"
        )


@contextmanager
def cache_in_use(root: Path, *, size: int | None) -> Iterator[None]:
    """Keep other runs from pruning the cache until the block ends, and then prune it.

    Args:
        root: The folder of the cache.
        size: The most bytes that it may have. None for no limit.

    Raises:
        UserError: If the folder is no cache.
    """
    check_cache(root)
    root.mkdir(parents=True, exist_ok=True)
    start = time.time()
    with file_lock(root / LOCK, shared=True):
        yield
    if size is None:
        return
    try:
        with file_lock(root / LOCK, wait=0):
            prune(root, size=size, before=start)
    except UserError as error:
        logger.info("the cache is not pruned now: %s", error)


def prune(root: Path, *, size: int, before: float) -> None:
    """Remove what has not been used for longest until the cache is small enough. No run may use the cache.

    What one run used last is removed together: outputs of a stage are of no use without those of the stages before it.
    What no entry names in the folders of runs, such as what failed stages left behind, is removed in any case.

    Args:
        root: The folder of the cache.
        size: The most bytes that it may have.
        before: Only what was last used before this time is removed, in seconds since the epoch.
    """
    remove_leftovers(root)
    used: dict[float, list[PurePath]] = defaultdict(list)
    for name in _names(root, ENTRIES):
        if name.suffix == ".json" and KEY.fullmatch(name.stem):
            when = (root / name).lstat().st_mtime
            used[when] += [name, name.with_suffix(".sha256"), *entry_paths(root / name)]
    for name in _names(root, CHECKPOINTS):
        if OF_TRAINING.fullmatch(name.name) and is_marked(root / name, MARKER):
            used[(root / name).lstat().st_mtime].append(name)
    sizes = {when: sum(_bytes(root / name) for name in names) for when, names in used.items()}
    for when in sorted(used):
        if sum(sizes.values()) <= size or when >= before:
            break
        for name in used.pop(when):
            remove(root, name)
        day = f"{datetime.fromtimestamp(when):%Y-%m-%d %H:%M}"
        logger.info("cache: removed %s that was last used at %s", _size(sizes.pop(when)), day)
    named = {name for names in used.values() for name in names}
    for name in _names(root):
        if RUN.fullmatch(name.name):
            _remove_others(root, name, named)
    total = sum(sizes.values())
    more = ", more than --cache-size, because this run uses it" if total > size else ""
    logger.info("cache: %s holds %s%s", root, _size(total), more)


def _names(root: Path, folder: PurePath | str = "") -> list[PurePath]:
    """Return what is in a folder of the cache, relative to the cache. In a link to a folder, nothing is."""
    path = root / folder
    return [each.relative_to(root) for each in path.iterdir()] if path.is_dir() and not path.is_symlink() else []


def _remove_others(root: Path, name: PurePath, named: set[PurePath]) -> None:
    """Remove everything below a folder of the cache that is neither in `named` nor inside something there."""
    if not any(each.is_relative_to(name) for each in named):
        remove(root, name)
    elif name not in named:
        for each in _names(root, name):
            _remove_others(root, each, named)


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file() and not file.is_symlink())


def _size(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"
