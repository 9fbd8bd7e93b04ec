"""A run that is stopped anywhere and resumes ends with the weights of one that was not."""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pandas as pd
import pytest
import torch
from helpers.tiny_training import SHORT, TINY, assert_same_weights, write_shards
from safetensors.torch import load_file

from audiotagging.training.loop import TrainingRun
from audiotagging.training.train import train

pytestmark = pytest.mark.usefixtures("narrow_networks")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("data") / "spectrograms")


@pytest.mark.parametrize(
    "network, stop, precision",
    [
        ("xresnet18ssa", 2, "float32"),  # within an epoch; has a power iteration
        ("xresnet34", 3, "auto"),  # between two cycles; has dropout and two learning rates
        ("xresnet18ssa", 4, "auto"),  # in the second cycle
    ],
)
def test_a_preempted_run_ends_with_the_same_weights(tmp_path, shards, monkeypatch, network, stop, precision):
    options = {"fold": 0, "seed": 1, "spectrograms": shards, "precision": precision}
    member = replace(TINY, network=network, epochs=1, validate_every=1)
    train(member, **options, out=tmp_path / "whole")
    steps = itertools.count(1)
    train_step = TrainingRun.train_step

    def preempted(run):
        train_step(run)
        if next(steps) == stop:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(TrainingRun, "train_step", preempted)
    options |= {"checkpoints": f"{tmp_path}/checkpoints", "out": tmp_path / "resumed"}
    with pytest.raises(SystemExit) as stopped:
        train(member, **options)
    assert stopped.value.code == 143 and not (tmp_path / "resumed").exists()
    torch.rand(10)  # another process has other random numbers
    train(member, **options)
    assert next(steps) == 7  # 6 steps in both runs together: none was done twice
    whole, resumed = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "resumed"))
    assert_same_weights(whole, resumed)
    histories = [pd.read_parquet(tmp_path / name / "history.parquet") for name in ("whole", "resumed")]
    pd.testing.assert_frame_equal(*(history.drop(columns="seconds") for history in histories))


KILLED = """
import sys
from pathlib import Path
from audiotagging.members import Member
from audiotagging.training.train import train
from audiotagging.training.batches import split, view_targets
spectrograms, out, checkpoints = sys.argv[1:]
member = Member(id="killed", network="xresnet18ssa", loss="bce", epochs=6, size=32, batch_size=4, epoch_size=8)
train(member, fold=-1, seed=1, spectrograms=Path(spectrograms), out=Path(out), checkpoints=checkpoints)
"""


@pytest.mark.slow
def test_a_run_killed_three_times_ends_with_the_same_weights(tmp_path, shards):
    def launch(out, checkpoints=""):
        arguments = [sys.executable, "-c", KILLED, str(shards), str(tmp_path / out), str(checkpoints)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE)

    assert launch("whole").wait(timeout=120) == 0
    folder = tmp_path / "checkpoints"
    for _ in range(3):
        before = set(folder.rglob("*.checkpoint"))
        process = launch("resumed", folder)
        while not set(folder.rglob("*.checkpoint")) - before:
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=10) == -signal.SIGKILL
    assert not (tmp_path / "resumed").exists()
    assert launch("resumed", folder).wait(timeout=120) == 0
    whole, resumed = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "resumed"))
    assert_same_weights(whole, resumed)


def test_a_run_that_is_killed_while_its_body_is_frozen_ends_with_the_same_weights(tmp_path, shards, monkeypatch):
    train(SHORT, fold=-1, seed=1, spectrograms=shards, out=tmp_path / "model")
    options = {"fold": 0, "seed": 1, "spectrograms": shards, "start": tmp_path / "model"}
    member = replace(TINY, cycles=1, freeze_epochs=1)
    train(member, **options, out=tmp_path / "whole")
    train_step = TrainingRun.train_step

    def preempted(run):
        train_step(run)
        if run.step == 2:
            signal.raise_signal(signal.SIGTERM)

    options |= {"checkpoints": f"{tmp_path}/checkpoints", "out": tmp_path / "resumed"}
    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "train_step", preempted)
        with pytest.raises(SystemExit):
            train(member, **options)
    train(member, **options)
    whole, resumed = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "resumed"))
    assert_same_weights(whole, resumed)
