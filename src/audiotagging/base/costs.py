"""What a stage costs: time, processor time and memory. A stage records it in the metadata of its output."""

import resource
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes, see getrusage(2)
ADD_UP: dict[str, Callable[[Iterable[Any]], Any]] = {
    "started": min,
    "seconds": sum,
    "cpu_seconds": sum,
    "peak_bytes": max,
}


class Meter:
    """Measures what this process and its finished children cost from now on.

    Examples:
        >>> cost = Meter().cost()
        >>> sorted(cost)
        ['cpu_seconds', 'peak_bytes', 'seconds', 'started']
    """

    def __init__(self) -> None:
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self._clock, self._cpu = time.monotonic(), _cpu_seconds()

    def cost(self) -> dict[str, Any]:
        """Return the cost so far, in types that the metadata of an artifact can have.

        Returns:
            `started` (in UTC, ISO 8601), `seconds`, `cpu_seconds` (of all cores together) and `peak_bytes` (the largest
            resident memory of one of the processes, from its own start).
        """
        return {
            "started": self._started,
            "seconds": time.monotonic() - self._clock,
            "cpu_seconds": _cpu_seconds() - self._cpu,
            "peak_bytes": float(RSS_UNIT * max(usage.ru_maxrss for usage in _usages())),
        }


def add_up(costs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the cost of several tasks of one stage: the sum of the times, and the largest memory.

    Args:
        costs: Costs as `Meter.cost` returns them, perhaps with other keys, which are ignored. Not empty.
    """
    return {name: how(cost[name] for cost in costs) for name, how in ADD_UP.items()}


def add_prefix(cost: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return a cost with other names, for an artifact that has a cost of its own. Metadata are flat."""
    return {prefix + name: value for name, value in cost.items()}


def select_prefixed(metadata: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the cost that `add_prefix` renamed."""
    return {name: metadata[prefix + name] for name in ADD_UP}


def _usages() -> list[resource.struct_rusage]:
    return [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]


def _cpu_seconds() -> float:
    return sum(usage.ru_utime + usage.ru_stime for usage in _usages())
