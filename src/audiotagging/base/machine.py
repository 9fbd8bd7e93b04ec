"""The processor, the cores and the memory that a process may use, and what a stage costs."""

import ctypes
import errno
import math
import mmap
import os
import platform
import re
import resource
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
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


CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
PROCESSORS = Path("/proc/cpuinfo")
# In the messages of torch, of Python, of C++, of libsndfile, and of the system when it loads a library.
MEMORY = (
    *("out of memory", "can't allocate memory", "can't start new thread", "bad_alloc", "bad allocation"),
    *("failed to map segment", "cannot allocate memory", "Cannot allocate memory", "malloc () failed"),
)
LARGEST = 2**31  # bytes: more than a library asks for at once to read a file of ours that is not damaged


def threads() -> int:
    """Return how many threads or worker processes this process should use.

    This is `OMP_NUM_THREADS` if it is set, and otherwise all usable cores. The variable is set for stages on a cluster,
    which may use more cores than they are guaranteed.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # any further numbers are for nested parallelism
    return max(1, int(wanted)) if wanted.isdecimal() else usable_cores()


def usable_cores() -> int:
    """Return how many cores this process may use, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [tuple(text.split()) for text in _limits("cpu.max")]
    quotas += zip(_limits("cpu.cfs_quota_us"), _limits("cpu.cfs_period_us"), strict=True)
    for quota, period in quotas:
        if quota not in ("max", "-1"):
            cores = min(cores, int(quota) // int(period))
    return max(1, cores)


def processor_name() -> str:
    """Return the name of the processor, or its architecture where the system does not tell its name."""
    text = PROCESSORS.read_text(encoding="utf-8") if PROCESSORS.exists() else ""
    found = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def memory_limit() -> float:
    """Return the memory limit of this process's cgroup in bytes, or infinity if there is none."""
    limits = [*_limits("memory.max"), *_limits("memory.limit_in_bytes")]
    return min((float(limit) for limit in limits if limit != "max"), default=math.inf)


def give_back_memory() -> None:
    """Give memory that was freed back to the system.

    glibc keeps it if it lies between what is in use. After loading six networks in place of six others, that was 0.8 GB
    of 1.9 GB. Other libraries of C do not have this function.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def says_no_memory(error: BaseException) -> bool:
    """Return whether an exception says that memory could not be had, in the words of any library."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or any(text in str(error) for text in MEMORY)


def check_machine(error: Exception) -> None:
    """Raise an exception again if the machine is its reason, such as missing memory, and not the file that was read.

    What turns errors of reading into "this file is corrupt" calls this first. A damaged file can make a library ask for
    more memory than any machine has: then as much as an intact one may need is there, and nothing is raised.

    Raises:
        MemoryError: If memory ran out.
        OSError: If this process, or the machine, has too many files open.
    """
    if says_no_memory(error) and _lacks_memory():
        raise MemoryError(str(error) or "use a machine with more memory") from error
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        raise error


def _lacks_memory() -> bool:
    try:
        mmap.mmap(-1, LARGEST, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()  # nothing is written to it
    except (OSError, MemoryError):
        return True
    return False


def _limits(name: str) -> list[str]:
    """Return the content of all files of a name in this process's cgroups (version 1 or 2) and their parents."""
    lines = OWN_CGROUPS.read_text(encoding="utf-8").splitlines() if OWN_CGROUPS.exists() else []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)  # such as "4:memory:/pod/container"; version 2 names no controllers
        top = CGROUPS / controllers
        own = top / path.strip("/")
        around = [folder for folder in (own, *own.parents) if folder.is_relative_to(top)]
        found += [(folder / name).read_text().strip() for folder in around if (folder / name).is_file()]
    return found
