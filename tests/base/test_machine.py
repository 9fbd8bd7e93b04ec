"""What a process may use, on fabricated cgroups."""

import math
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from audiotagging.base import machine


@pytest.fixture
def cgroups(tmp_path, monkeypatch):
    """Return a function that puts this process into cgroups with files: their content by path."""

    def make(own, files):
        monkeypatch.setattr(machine, "CGROUPS", tmp_path)
        monkeypatch.setattr(machine, "OWN_CGROUPS", tmp_path / "own")
        (tmp_path / "own").write_text(own)
        for path, content in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(content)

    return make


V1 = "5:cpu,cpuacct:/pod/container\n4:memory:/pod/container\n0::/\n"


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("0::/\n", {}, 8),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "300000 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 2),  # a third thread would wait for half of its time
        ("0::/\n", {"cpu.max": "25000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "9000000 100000\n"}, 8),
        ("0::/a/b\n", {"cpu.max": "max 1000\n", "a/cpu.max": "4000 1000\n", "a/b/cpu.max": "6000 1000\n"}, 4),
        ("0::/a/b\n", {"a/c/cpu.max": "1000 1000\n"}, 8),
        (V1, {"cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}, 8),
        (
            V1,  # a container of Docker's sees its own cgroup at the top
            {"cpu,cpuacct/cpu.cfs_quota_us": "200000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            2,
        ),
        (
            V1,
            {
                "cpu,cpuacct/pod/container/cpu.cfs_quota_us": "300000\n",
                "cpu,cpuacct/pod/container/cpu.cfs_period_us": "50000\n",
            },
            6,
        ),
    ],
)
def test_cores_are_those_of_the_affinity_and_the_quota(cgroups, monkeypatch, own, files, cores):
    cgroups(own, files)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert machine.usable_cores() == cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes are not bound to cores here")
def test_a_process_that_is_bound_to_one_core_uses_one():
    core = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, [{core}]); from audiotagging.base.machine import *; print(usable_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/\n", {"memory.max": "max\n"}, math.inf),
        ("0::/\n", {}, math.inf),
        ("0::/a\n", {"memory.max": "4096\n", "a/memory.max": "8192\n"}, 4096),
        (V1, {"memory/memory.limit_in_bytes": "16384\n"}, 16384),
        (V1, {"memory/memory.limit_in_bytes": "16384\n", "memory/pod/memory.limit_in_bytes": "512\n"}, 512),
    ],
)
def test_memory_is_limited_by_every_cgroup_around(cgroups, own, files, limit):
    cgroups(own, files)
    assert machine.memory_limit() == limit


def test_without_cgroups_there_are_no_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "OWN_CGROUPS", tmp_path / "none")
    assert machine.memory_limit() == math.inf


@pytest.mark.parametrize(("value", "expected"), [("3", 3), ("4,2", 4), ("0", 1), ("", 5), ("many", 5), (None, 5)])
def test_threads_are_as_many_as_openmp_is_told_to_use(monkeypatch, value, expected):
    monkeypatch.setattr(machine, "usable_cores", lambda: 5)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if value is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert machine.threads() == expected


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_memory_that_was_freed_between_what_is_in_use_is_given_back():
    def resident():
        return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")

    blocks = [b"x" * 60_000 for _ in range(3000)]
    in_use = blocks[::100]
    del blocks
    before = resident()
    machine.give_back_memory()
    assert before - resident() > 100e6
    assert len(in_use) == 30


@pytest.mark.parametrize(("limit", "lacks"), [(2**30, True), (2**36, False)])
def test_memory_lacks_where_as_much_as_a_file_needs_cannot_be_had(limit, lacks):
    program = "import resource, sys; from audiotagging.base import machine\n"
    program += "resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2); print(machine._lacks_memory())"
    done = subprocess.run([sys.executable, "-c", program, str(limit)], capture_output=True, text=True, check=True)
    assert done.stdout == f"{lacks}\n"
