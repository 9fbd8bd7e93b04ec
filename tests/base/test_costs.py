import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from audiotagging.base.machine import RSS_UNIT, add_prefix, add_up, select_prefixed

STAGE = """
import json, subprocess, sys
from audiotagging.base.machine import Meter
meter = Meter()
work = "sum(range(3_000_000)); b'x' * ({size} << 20)"
{own}
subprocess.run([sys.executable, "-c", work], check=True)
print(json.dumps(meter.cost()))
"""


@pytest.mark.parametrize(("own", "size"), [("exec(work)", 300), ("", 250)])
def test_a_stage_costs_what_the_system_says_of_its_processes(own, size):
    """Both its own work and that of its children count."""
    before = datetime.now(UTC).replace(microsecond=0)
    script = STAGE.format(own=own, size=size)
    stage = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    cost = json.loads(stage.stdout.read())
    _, code, usage = os.wait4(stage.pid, 0)  # of the process, with the children that it waited for
    assert code == 0
    spent = usage.ru_utime + usage.ru_stime
    assert spent / 2 < cost["cpu_seconds"] <= spent  # all but the start and the end of the process
    assert size << 20 < cost["peak_bytes"] <= usage.ru_maxrss * RSS_UNIT
    assert before <= datetime.fromisoformat(cost["started"]) <= datetime.now(UTC)
    assert cost["seconds"] > 0


COSTS = [
    {"started": "2026-01-02T03:04:05+00:00", "seconds": 2.0, "cpu_seconds": 5.0, "peak_bytes": 7.0, "fold": 1},
    {"started": "2026-01-01T03:04:05+00:00", "seconds": 3.0, "cpu_seconds": 1.0, "peak_bytes": 6.0, "fold": 2},
]
TOTAL = {"started": "2026-01-01T03:04:05+00:00", "seconds": 5.0, "cpu_seconds": 6.0, "peak_bytes": 7.0}


def test_several_tasks_of_a_stage_add_up():
    assert add_up(COSTS) == TOTAL
    assert add_up([TOTAL]) == TOTAL


def test_two_costs_fit_in_the_metadata_of_one_artifact():
    metadata = COSTS[0] | add_prefix(TOTAL, "predict_")
    assert select_prefixed(metadata, "predict_") == TOTAL
    assert add_up([metadata]) == {name: COSTS[0][name] for name in TOTAL}
