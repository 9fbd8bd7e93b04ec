"""A run that is killed at any moment: nothing of it lives on, and the same command ends as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import pipeline
from audiotagging.artifacts.champion import champion_folder
from audiotagging.data.synthetic import write_dataset
from audiotagging.processes import PATIENCE

pytestmark = pytest.mark.kills

KILLS = int(os.environ.get("KILLS", "4"))  # each takes about a minute
LAST = 0.95  # of the duration: later kills would miss a run that is a little faster
TINY = ["--folds", "0", "--set", "epochs=3", "epoch_size=2", "batch_size=4", "size=32"]
ROOT = Path(pipeline.__file__).parent


def start(folder, data):
    """Start a run in a session of its own, which all of its processes belong to."""
    options = ["--data", data, "--out", folder / "out", "--champions", folder / "champions", "--force"]
    command = [sys.executable, "pipeline.py", "run", *options, "--members", "demo-xresnet18ssa-focal", *TINY]
    with (folder / "printed.txt").open("a") as printed:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}  # because the order of a sum affects its rounding
        return subprocess.Popen(
            command, stdout=printed, stderr=printed, cwd=ROOT, env=environment, start_new_session=True
        )


def results(folder):
    """Return the content of all files that contain predictions."""
    out = folder / "out"
    files = [out / "submission.csv", out / "predictions.parquet", *(out / "predictions").iterdir()]
    return {file.relative_to(out).as_posix(): file.read_bytes() for file in files}


def alive(session):
    """Return the processes of a session."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            continue
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips") / "data"
    write_dataset(folder, curated=39, noisy=13, test=13)
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, data):
    """The results of a run that is not killed, and how many seconds it takes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    begin = time.monotonic()
    assert start(folder, data).wait() == 0, (folder / "printed.txt").read_text()
    return results(folder), time.monotonic() - begin


@pytest.mark.parametrize("number", range(KILLS))
def test_the_same_command_ends_as_if_nothing_had_happened(tmp_path, data, undisturbed, number):
    expected, seconds = undisturbed
    moment = (number + random.Random(number).random()) / KILLS * LAST * seconds
    killed = start(tmp_path, data)
    time.sleep(moment)
    before = [process.name() for process in alive(killed.pid)]
    (os.killpg if number % 2 else os.kill)(killed.pid, signal.SIGKILL)
    killed.wait()
    print(f"killed after {moment:.1f} of {seconds:.1f} s, {len(before)} processes: {sorted(before)}")
    assert not (tmp_path / "out").exists() or results(tmp_path) == expected

    again = start(tmp_path, data)
    deadline = time.monotonic() + PATIENCE + 10
    while left := alive(killed.pid):
        assert time.monotonic() < deadline, f"{left} live on"
        time.sleep(0.2)
    assert again.wait() == 0, (tmp_path / "printed.txt").read_text()
    assert results(tmp_path) == expected
    assert {path.name for path in tmp_path.iterdir()} == {"out", "champions", "printed.txt"}
    champion = champion_folder(tmp_path / "champions")
    assert (champion / "predictions.parquet").read_bytes() == expected["predictions.parquet"]
