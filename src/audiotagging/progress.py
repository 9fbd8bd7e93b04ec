"""Progress of long work: a bar on a terminal, a line now and then in a log."""

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
    """Yield the things, showing how many of them are done.

    Args:
        things: What to go through.
        label: What is being done, for the reader.
        total: How many things there are.
    """
    if sys.stderr.isatty():
        yield from tqdm(things, desc=label, total=total)
        return
    start = last = time.monotonic()
    for done, thing in enumerate(things, 1):
        yield thing
        now = time.monotonic()
        if now - last >= LOG_SECONDS or (done == total and last > start):
            logger.info("%s: %d of %d (%.1f a second)", label, done, total, done / (now - start))
            last = now
