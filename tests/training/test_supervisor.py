"""A training that dies is started again; what would happen again, and who stops it, end it."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.fabricated import fabricate_run
from safetensors.torch import load_file

from audiotagging.artifacts.model_folder import read_history, weights_path
from audiotagging.base.errors import MachineError, UserError
from audiotagging.base.gate import DEVICE
from audiotagging.members import REFERENCE, rows
from audiotagging.training import supervisor
from audiotagging.training.supervisor import supervise

FUNCTIONS = "helpers.supervised"  # the module of what is called


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(supervisor, "PAUSES", (0, 0, 0))


def tries(folder, *endings):
    """Supervise tries that end so one after the other; return how many there were, and what was raised."""
    try:
        supervise(f"{FUNCTIONS}:attempt", folder=folder, endings=endings)
        raised = None
    except BaseException as error:
        raised = error
    return len(list(folder.iterdir())), raised


@pytest.mark.parametrize(
    "ending",
    [
        signal.SIGKILL,
        signal.SIGSEGV,
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        *(RuntimeError(f"{text}: failed") for text in DEVICE),
    ],
)
def test_a_dead_training_is_restarted(tmp_path, caplog, ending):
    assert tries(tmp_path, ending, ending, None) == (3, None)
    assert len(caplog.messages) == 2 and all("it will restart in" in message for message in caplog.messages)


@pytest.mark.parametrize(
    ("ending", "code", "line"),
    [
        (UserError("expected a folder, found none"), 2, "error: expected a folder, found none"),
        (ValueError("a defect"), 70, "defect: ValueError: a defect"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), 1, "out of memory: CUDA out of memory. Tried"),
        (RuntimeError("CUDA error: out of memory"), 1, "out of memory: CUDA error: out of memory"),
        (RuntimeError("expected a CUDA error"), 70, "defect: RuntimeError: expected a CUDA error"),
    ],
)
def test_errors_that_would_happen_again_are_not_retried(tmp_path, capfd, ending, code, line):
    count, raised = tries(tmp_path, ending)
    assert count == 1 and isinstance(raised, SystemExit) and raised.code == code
    assert capfd.readouterr().err.splitlines()[-1].startswith(line)


@pytest.mark.parametrize(
    ("ending", "kind", "message"),
    [
        (signal.SIGKILL, MemoryError, "killed by SIGKILL, most likely because memory ran out"),
        (signal.SIGABRT, MachineError, "killed by SIGABRT"),
        (RuntimeError("CUDA error: device lost"), MachineError, "its GPU failed"),
    ],
)
def test_it_gives_up_after_four_tries_and_says_why(tmp_path, ending, kind, message):
    count, raised = tries(tmp_path, ending)
    assert count == 4 and type(raised) is kind and message in str(raised)


def test_the_errors_of_torch_are_recognised(tmp_path):
    assert issubclass(torch.AcceleratorError, RuntimeError) and issubclass(torch.OutOfMemoryError, RuntimeError)
    assert tries(tmp_path, "torch", None) == (2, None)


def test_the_stage_itself_does_not_hold_torch():
    code = "import sys, audiotagging.training.supervisor; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


STAGE = """
import logging, sys
from pathlib import Path
logging.basicConfig(stream=sys.stdout, format="[stage %(levelname)s]: %(message)s", level=logging.INFO)
from audiotagging.training.supervisor import supervise
if __name__ == "__main__":
    supervise(sys.argv[1], folder=Path(sys.argv[2]))
"""


@pytest.fixture
def stage(tmp_path):
    """Return a function that starts a process which supervises one of these functions with a folder."""
    script = tmp_path / "stage.py"
    script.write_text(STAGE)
    (tmp_path / "folder").mkdir()
    started = []

    def start(function):
        command = [sys.executable, str(script), f"{FUNCTIONS}:{function}", str(tmp_path / "folder")]
        paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        started.append(subprocess.Popen(command, env=os.environ | paths, text=True, **pipes, start_new_session=True))
        return started[0], tmp_path / "folder"

    yield start
    started[0].kill()


def eventually(condition):
    end = time.monotonic() + 60
    while not (value := condition()):
        assert time.monotonic() < end, "waited for a minute"
        time.sleep(0.05)
    return value


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def child_of(folder):
    return int(eventually(lambda: (folder / "pid").exists() and (folder / "pid").read_text()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("whom", [os.kill, os.killpg])
def test_who_is_told_to_stop_waits_for_the_last_checkpoint(stage, number, whom):
    process, folder = stage("write_a_last_checkpoint")
    pid = child_of(folder)
    whom(process.pid, number)
    process.communicate(timeout=60)
    assert (folder / "checkpoint").exists() and not alive(pid)
    assert process.returncode == (143 if number == signal.SIGTERM else -signal.SIGINT)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
def test_the_training_stops_when_the_stage_is_killed(stage):
    process, folder = stage("write_a_last_checkpoint")
    pid = child_of(folder)
    process.kill()
    eventually(lambda: not alive(pid))
    assert (folder / "checkpoint").exists()


def test_what_is_logged_looks_as_if_the_stage_had_logged_it(stage):
    process, _ = stage("say")
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0 and re.search(r"^\[stage INFO\]: epoch 1$", output, re.MULTILINE)
    assert "\nprinted\n" in f"\n{output}"


@pytest.mark.slow
@pytest.mark.parametrize("checkpoints", [True, False])
def test_a_training_that_is_killed_ends_with_the_weights_of_one_that_is_not(tmp_path, capfd, checkpoints):
    run = fabricate_run(tmp_path / "run", clips=20, classes=3, members=REFERENCE[:1])
    member = replace(REFERENCE[0], epochs=3, size=32, batch_size=4, epoch_size=2)
    options = {
        "row": rows([member], [0])[0],
        "spectrograms": run / "spectrograms",
        "selection": run / "selection",
        "seed": 1,
        "champions": "",
        "warm_start": 0.0,
        "init": {},
        "checkpoints": str(tmp_path / "checkpoints") if checkpoints else "",
    }
    supervise("audiotagging.training.train:train_row", out=tmp_path / "whole", **options)
    capfd.readouterr()
    killed = tmp_path / "killed"
    supervise(f"{FUNCTIONS}:train_and_be_killed_once", marker=killed, out=tmp_path / "started again", **options)
    printed = capfd.readouterr().out
    assert killed.exists() and ("resuming from" in printed) == checkpoints
    whole, again = (load_file(weights_path(tmp_path / name)) for name in ("whole", "started again"))
    assert whole.keys() == again.keys() and all(torch.equal(whole[name], again[name]) for name in whole)
    assert list(read_history(tmp_path / "started again")["epoch"]) == [1, 2, 3]
    assert not checkpoints or not list((tmp_path / "checkpoints").iterdir())
