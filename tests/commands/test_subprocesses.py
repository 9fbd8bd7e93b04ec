"""The process of a stage: its output, its exit code, and that it ends with the process that started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

import pipeline
from commands.local.subprocesses import run_subprocess


def test_output_and_exit_code_are_those_of_the_stage(capsys):
    code = "import os, sys; print(os.environ['NAME']); print('wrong', file=sys.stderr); print('\\xff'); sys.exit(3)"
    assert run_subprocess([sys.executable, "-uc", code], {"NAME": "value", "PYTHONIOENCODING": "latin-1"}) == 3
    assert capsys.readouterr().out.splitlines() == ["value", "wrong", "\ufffd"]


RUNNER = """
import sys
from commands.local.subprocesses import run_subprocess
run_subprocess(["sh", "-c", '"$0" "$@"; exit $?', sys.executable, "-c", sys.argv[1]], {})
"""
# Like the stage `train`: a process that waits for another one.
STAGE = """
import multiprocessing, os, time
from audiotagging.base.processes import begin_stage, end_with_parent
begin_stage()
def work():
    end_with_parent()
    print("pids", os.getppid(), os.getpid(), flush=True)
    time.sleep(600)
child = multiprocessing.get_context("fork").Process(target=work)
child.start()
child.join()
"""


def test_nothing_lives_on_when_the_runner_is_killed():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", RUNNER, STAGE]
    folder = Path(pipeline.__file__).parent
    runner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder)
    while not (line := runner.stdout.readline()).startswith("pids"):
        assert line
    children = psutil.Process(runner.pid).children(recursive=True)
    assert {int(pid) for pid in line.split()[1:]} <= {child.pid for child in children}
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    deadline = time.monotonic() + 60
    while alive := [child for child in children if works(child)]:
        assert time.monotonic() < deadline, f"{alive} live on"
        time.sleep(0.1)


def works(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
