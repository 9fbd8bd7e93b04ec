"""A stage ends with its runner, and lets nobody but its owner write. Every stage starts through the gate."""

import os
import signal
import subprocess
import sys

import pytest

from audiotagging.base.processes import STDIN_IS_OPEN, TERMINATED


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a stage with this code, which prints "begun" first."""

    def start(code, **options):
        (tmp_path / "code.py").write_text(f"import os, signal, time\nprint('begun', flush=True)\n{code}\n")
        command = [sys.executable, "-m", "audiotagging.base.gate", "code"]
        paths = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
        environment = os.environ | paths | options.pop("env", {})
        stage = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, **options)
        assert stage.stdout.readline() == "begun\n"
        return stage

    return start


def test_a_stage_ends_when_its_standard_input_is_closed(start):
    with start("time.sleep(600)", stdin=subprocess.PIPE, env={STDIN_IS_OPEN: "1"}) as stage:
        stage.stdin.close()
        assert stage.wait(60) == -signal.SIGTERM


def test_a_stage_that_does_not_react_ends_all_the_same(start):
    deaf = "from audiotagging.base import processes; processes.PATIENCE = 0"
    deaf += "\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(600)"
    with start(deaf, stdin=subprocess.PIPE, env={STDIN_IS_OPEN: "1"}) as stage:
        assert stage.stdout.readline() == "deaf\n"
        stage.stdin.close()
        assert stage.wait(60) == TERMINATED


def test_a_stage_on_a_cluster_has_no_standard_input_and_runs_to_its_end(start):
    with start("time.sleep(0.5); print('ended')", stdin=subprocess.DEVNULL) as stage:
        assert stage.communicate()[0] == "ended\n" and stage.returncode == 0


@pytest.mark.parametrize(("umask", "expected"), [(0o000, 0o022), (0o002, 0o022), (0o022, 0o022), (0o077, 0o077)])
def test_only_the_owner_may_write(start, umask, expected):
    with start("print(os.umask(0))", umask=umask, stdin=subprocess.DEVNULL) as stage:
        assert int(stage.communicate()[0]) == expected


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_that_a_stage_starts_have_the_same_umask(start, tmp_path, method):
    code = f"""
import multiprocessing
if __name__ == "__main__":
    child = multiprocessing.get_context("{method}").Process(target=os.mkdir, args=("made",))
    child.start(); child.join()
    print(os.stat("made").st_mode & 0o777)
"""
    with start(code, umask=0, stdin=subprocess.DEVNULL, cwd=tmp_path) as stage:
        assert int(stage.communicate()[0].split()[-1]) == 0o755
