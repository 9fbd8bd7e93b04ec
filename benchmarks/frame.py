"""A row of the table, and how two ways of doing the same thing are timed."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A figure of ours beside the figure of another way, both from the same run.

    Attributes:
        ours: Our figure.
        other: The other's.
        unit: Of both, such as "clips/s" or "bytes/clip".
        against: What the other way is.
    """

    ours: float
    other: float
    unit: str
    against: str


def race(ours: Callable[[], object], other: Callable[[], object], *, rounds: int = 9) -> tuple[float, float]:
    """Return the median seconds of both, called in turn, so that whatever else the machine does hits both.

    Args:
        ours: What to time.
        other: What to compare it with.
        rounds: Times that each is called, after one call of each that does not count.
    """
    ours()
    other()
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for call, times in zip((ours, other), seconds, strict=True):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return statistics.median(seconds[0]), statistics.median(seconds[1])
