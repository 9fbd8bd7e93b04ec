"""Shows the progress of long work: as a bar on a terminal, and as an occasional line in a log."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
LOG_SECONDS = 15.0

logger = logging.getLogger(__name__)


def track(things: Iterable[T], *, label: str, total: int) -> Iterator[T]:
    """Yield the items of an iterable and show how many of them are done.

    Args:
        things: The items.
        label: Name of the work, to show next to the progress.
        total: Number of items.
    """
    if sys.stderr.isatty():
        yield from tqdm(things, desc=label, total=total, leave=None)  # a bar inside another one is removed
        return
    start = last = time.monotonic()
    for done, thing in enumerate(things, 1):
        yield thing
        now = time.monotonic()
        if now - last >= LOG_SECONDS or (done == total and last > start):
            logger.info("%s: %d of %d (%.1f per second)", label, done, total, done / (now - start))
            last = now
