"""What is said about a training while it runs."""

import logging
from argparse import Namespace

import pytest
import torch

from audiotagging.base import progress
from audiotagging.base.progress import INTERVAL, fraction
from audiotagging.members import Member
from audiotagging.training.training_progress import TrainingProgress

MEMBER = Member(id="m", network="xresnet50", loss="bce", epochs=2, cycles=2, epoch_size=10, batch_size=8)


def lines_of(caplog, monkeypatch, *, seconds, first=0, scores=(), every="15"):
    """Return what is logged about a training from some step on, each step of which takes so many seconds."""
    caplog.set_level(logging.INFO)
    monkeypatch.setenv(INTERVAL, every)
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])  # one module `time` for both
    history = [{"lwlrap": score} for score in scores]
    losses = torch.arange(1.0, 11)
    data = Namespace(training=torch.arange(1234))
    run = Namespace(member=MEMBER, step=first, steps=40, seconds=0.0, losses=losses, history=history, data=data)
    reports = TrainingProgress(run)
    for run.step in range(first + 1, 41):
        now[0] += seconds
        run.seconds = now[0]
        reports.after_step()
    return [record.getMessage() for record in caplog.records]


def test_epoch_speed_loss_score_and_remaining_time(caplog, monkeypatch):
    assert lines_of(caplog, monkeypatch, seconds=1, scores=(0.4, float("nan"), 0.71, float("nan"))) == [
        "training on 1 234 clips: 4 epochs of 10 batches of 8 crops",
        "epoch 2 of 4, 8 crops/s, loss 3, lwlrap 0.710, 25 s left",
        "epoch 3 of 4, 8 crops/s, loss 5.5, lwlrap 0.710, 10 s left",
        "trained 4 epochs, 8 crops/s, loss 5.5, lwlrap 0.710",
    ]


def test_without_a_fold_there_is_no_score(caplog, monkeypatch):
    found = lines_of(caplog, monkeypatch, seconds=0.1, scores=(float("nan"),))
    assert found[1:] == ["trained 4 epochs, 80 crops/s, loss 5.5"]


def test_a_resumed_training_counts_from_where_it_resumed(caplog, monkeypatch):
    found = lines_of(caplog, monkeypatch, seconds=6, first=30)
    assert found[1] == "epoch 4 of 4, 1 crops/s, loss 2, 42 s left"


@pytest.mark.parametrize("every", ["0.5", "15"])
def test_bars_follow_the_epochs(caplog, monkeypatch, every):
    found = lines_of(caplog, monkeypatch, seconds=1, every=every)
    shares = [share for share in map(fraction, found) if share is not None]
    assert shares == sorted(shares) and shares and set(shares) <= {0.25, 0.5, 0.75, 1}
