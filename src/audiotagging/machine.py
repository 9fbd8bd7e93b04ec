"""What this process may use of the machine that it runs on: cores and memory.

A process may be bound to some of the cores (its affinity), and its cgroup, which is how containers and batch systems
hold it, may allow it less time and memory than the machine has.
"""

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def threads() -> int:
    """Return how many threads or processes should compute side by side in this process.

    That is `OMP_NUM_THREADS` where it is set, as for the stages on a cluster, which may use more cores than they are
    guaranteed; else all usable cores.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # further numbers are for nested loops
    return max(1, int(wanted)) if wanted.isdecimal() else usable_cores()


def usable_cores() -> int:
    """Return how many cores this process may keep busy, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [tuple(text.split()) for text in _limits("cpu.max")]
    quotas += zip(_limits("cpu.cfs_quota_us"), _limits("cpu.cfs_period_us"), strict=True)
    for quota, period in quotas:
        if quota not in ("max", "-1"):
            cores = min(cores, int(quota) // int(period))
    return max(1, cores)


def memory_limit() -> float:
    """Return how many bytes of memory this process's cgroup may use; infinity where there is no limit."""
    limits = [*_limits("memory.max"), *_limits("memory.limit_in_bytes")]
    return min((float(limit) for limit in limits if limit != "max"), default=math.inf)


def _limits(name: str) -> list[str]:
    """Return what files of a name say in this process's cgroups and in those around them, of version 1 and 2."""
    lines = OWN_CGROUPS.read_text().splitlines() if OWN_CGROUPS.exists() else []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)  # as "4:memory:/pod/container"; version 2 names no controllers
        top = CGROUPS / controllers
        folder = top / path.strip("/")
        around = [place for place in (folder, *folder.parents) if place.is_relative_to(top)]
        found += [(place / name).read_text().strip() for place in around if (place / name).is_file()]
    return found
