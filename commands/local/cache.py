"""The cache of `run`: the outputs of stages, which later runs reuse, pruned to a size.

.kfp_cache/KEY.json   kfp's entry for a stage; its time is the start of the run that used it last
RUN/STAGE/...         the outputs that the entries name
checkpoints/          checkpoints of trainings that were interrupted
"""

import argparse
import logging
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from docker.errors import DockerException
from docker.utils import parse_bytes

from audiotagging.errors import UserError
from audiotagging.locks import LOCK, file_lock
from commands.kfp_internals import entry_paths

ENTRIES, CHECKPOINTS = ".kfp_cache", "checkpoints"

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


@contextmanager
def cache_in_use(root: Path, *, size: int | None) -> Iterator[None]:
    """Keep other runs from pruning the cache until the block ends, and then prune it.

    Args:
        root: The folder of the cache.
        size: The most bytes that it may have. None for no limit.
    """
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
    Files that no entry names, such as what failed stages left behind, are removed in any case.

    Args:
        root: The folder of the cache.
        size: The most bytes that it may have.
        before: Only what was last used before this time is removed, in seconds since the epoch.
    """
    used: dict[float, list[Path]] = defaultdict(list)
    for entry in (root / ENTRIES).glob("*.json"):
        used[entry.stat().st_mtime] += [entry, entry.with_suffix(".sha256"), *entry_paths(entry)]
    for folder in (root / CHECKPOINTS).glob("*"):
        used[folder.stat().st_mtime].append(folder)
    sizes = {when: sum(map(_bytes, paths)) for when, paths in used.items()}
    for when in sorted(used):
        if sum(sizes.values()) <= size or when >= before:
            break
        for path in used.pop(when):
            _remove(path)
        day = f"{datetime.fromtimestamp(when):%Y-%m-%d %H:%M}"
        logger.info("cache: removed %s that was last used at %s", _size(sizes.pop(when)), day)
    named = {path for paths in used.values() for path in paths}
    for folder in root.iterdir():
        if folder.name not in (ENTRIES, CHECKPOINTS, LOCK):
            _remove_others(folder, named)
    total = sum(sizes.values())
    more = ", more than --cache-size, because this run uses it" if total > size else ""
    logger.info("cache: %s holds %s%s", root, _size(total), more)


def _remove_others(folder: Path, named: set[Path]) -> None:
    """Remove the files of a folder that are not in `named` or inside something there, and folders without files."""
    if folder in named:
        return
    if not folder.is_dir():
        folder.unlink()
        return
    for path in folder.iterdir():
        _remove_others(path, named)
    if not any(folder.iterdir()):
        folder.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _size(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"
