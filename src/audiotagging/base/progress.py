"""Shows the progress of long work: as a bar on a terminal, and as an occasional line in a log.

A line is `WORK: DONE of TOTAL, FIGURES`, or `epoch DONE of TOTAL, FIGURES` of a training. `run` and `follow` read the
lines of the stages, which work in other processes and on other machines.
"""

import logging
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from audiotagging.base.wording import duration, number

T = TypeVar("T")
LOG_SECONDS = 15.0  # between two lines
INTERVAL = "AUDIOTAGGING_PROGRESS_SECONDS"  # the variable that changes this for the process of a stage
LINE = re.compile(r"(?:.*[:h] )?(\d[\d ]*) of (\d[\d ]*)(?:, .*)?")

logger = logging.getLogger(__name__)


class Pace:
    """Decides when it is time for another line."""

    def __init__(self) -> None:
        self._seconds = float(os.environ.get(INTERVAL, LOG_SECONDS))
        self._last = time.monotonic()

    def due(self) -> bool:
        """Return whether it is time. If so, the next line is due after another interval."""
        now = time.monotonic()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True


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
    start, pace, shown = time.monotonic(), Pace(), False
    for done, thing in enumerate(things, 1):
        yield thing
        if pace.due() or (done == total and shown):
            shown = True
            rate = done / (time.monotonic() - start)
            left = f", {duration((total - done) / rate)} left" if done < total else ""
            logger.info("%s: %s of %s, %.1f per second%s", label, number(done), number(total), rate, left)


def fraction(line: str) -> float | None:
    """Return how much of the work is done according to a line, from 0 to 1, or None if the line is another message.

    Examples:
        >>> fraction("epoch 12 of 80, 1 840 crops/s, loss 1.31")
        0.15
        >>> fraction("spectrograms: 1 000 of 4 000, 93.0 per second, 32 s left")
        0.25
        >>> fraction("chose 38 of 150 noisy clips")
    """
    found = LINE.fullmatch(line)
    if not found:
        return None
    done, total = (int(part.replace(" ", "")) for part in found.groups())
    return done / max(1, total)
