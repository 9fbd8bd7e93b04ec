"""A run that is killed at any moment: nothing of it lives on, and the same command ends as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from helpers.fabricated import fabricate_run, models_of, replace_weights
from safetensors.torch import save

import pipeline
from audiotagging.artifacts.averaging import Averaging
from audiotagging.artifacts.champions_folder import champion_folder
from audiotagging.base.processes import PATIENCE
from audiotagging.base.typed_json import write_json
from audiotagging.demo import write_dataset
from audiotagging.members import DEMO
from audiotagging.sounds.audio import RATE
from audiotagging.training.augmentation import VIEWS
from audiotagging.training.networks import NETWORKS

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


def start_tagging(folder, *, data, models):
    """Start the pipeline that tags new sounds, in a session of its own."""
    options = ["--data", data, "--out", folder / "out", "--models", models, "--window", "1"]
    command = [sys.executable, "pipeline.py", "run", "--pipeline", "tagging", *options]
    with (folder / "printed.txt").open("a") as printed:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command, stdout=printed, stderr=printed, cwd=ROOT, env=environment, start_new_session=True
        )


def tags(folder):
    """Return the rows of all complete batches, without their headers."""
    found = [path.with_name("tags.csv") for path in (folder / "out").glob("batches/*/files.parquet")]
    return sorted(line for path in found for line in path.read_text().splitlines()[1:])


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
    deadline = time.monotonic() + PATIENCE + 60
    while left := alive(killed.pid):
        assert time.monotonic() < deadline, f"{left} live on"
        time.sleep(0.2)
    assert again.wait() == 0, (tmp_path / "printed.txt").read_text()
    assert results(tmp_path) == expected
    assert {path.name for path in tmp_path.iterdir()} == {"out", "champions", "printed.txt"}
    champion = champion_folder(tmp_path / "champions")
    assert (champion / "predictions.parquet").read_bytes() == expected["predictions.parquet"]


@pytest.fixture(scope="module")
def tagging(tmp_path_factory):
    """Sounds, models, and the tags and the seconds of a run of the pipeline `tagging` that is not killed."""
    folder = tmp_path_factory.mktemp("tagging")
    run = fabricate_run(folder / "models", members=[DEMO[0]], classes=3, clips=4, folds=[0])
    write_json(run / "ensemble.json", asdict(Averaging("arithmetic", {DEMO[0].id: 1.0})))
    for path in models_of(run):
        replace_weights(path, save(NETWORKS[DEMO[0].network](VIEWS * 3).state_dict()))
    (folder / "sounds").mkdir()
    for number in range(6):
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, 3 * RATE)
        soundfile.write(folder / "sounds" / f"{number}.wav", noise, RATE)
    options = {"data": folder / "sounds", "models": folder / "models"}
    begin = time.monotonic()
    assert start_tagging(folder, **options).wait() == 0, (folder / "printed.txt").read_text()
    assert tags(folder)
    return options, tags(folder), time.monotonic() - begin


@pytest.mark.parametrize("number", range(KILLS))
def test_the_pipeline_of_tagging_ends_as_if_nothing_had_happened(tmp_path, tagging, number):
    options, expected, seconds = tagging
    killed = start_tagging(tmp_path, **options)
    time.sleep((number + random.Random(number).random()) / KILLS * LAST * seconds)
    (os.killpg if number % 2 else os.kill)(killed.pid, signal.SIGKILL)
    killed.wait()
    assert tags(tmp_path) in ([], expected)  # a batch is there whole or not at all

    again = start_tagging(tmp_path, **options)
    deadline = time.monotonic() + PATIENCE + 60
    while left := alive(killed.pid):
        assert time.monotonic() < deadline, f"{left} live on"
        time.sleep(0.2)
    assert again.wait() == 0, (tmp_path / "printed.txt").read_text()
    assert tags(tmp_path) == expected
    assert {path.name for path in tmp_path.iterdir()} == {"out", "printed.txt"}
    left = [path.relative_to(tmp_path).as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not [name for name in left if name.endswith(".part") or name.startswith("parts/")]
