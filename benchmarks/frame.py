"""A row of the table, and the timing of two ways to do the same thing."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """Our figure and that of an alternative, both from the same run.

    Attributes:
        ours: Our figure.
        other: The figure of the alternative.
        unit: Unit of both, such as "clips/s" or "bytes/clip".
        against: What the alternative is.
    """

    ours: float
    other: float
    unit: str
    against: str


def race(ours: Callable[[], object], other: Callable[[], object], *, rounds: int = 9) -> tuple[float, float]:
    """Return the median seconds of two calls. They take turns, so that other load on the machine affects both.

    Args:
        ours: Our call.
        other: The alternative.
        rounds: Number of timed calls of each, after one call of each to warm up.
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
