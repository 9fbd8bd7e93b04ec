import pytest

from audiotagging.training import speed
from audiotagging.training.loop import TrainingRun

pytestmark = pytest.mark.usefixtures("narrow_networks")


def test_the_speed_counts_the_crops_of_the_measured_seconds(monkeypatch):
    """A clock that only training moves: each step takes a quarter of a second."""
    now = [0.0]
    train_step = TrainingRun.train_step

    def step(run):
        train_step(run)
        now[0] += 0.25

    monkeypatch.setattr(TrainingRun, "train_step", step)
    monkeypatch.setattr(speed, "time", type("Clock", (), {"monotonic": staticmethod(lambda: now[0])}))
    assert speed.measure_speed() == pytest.approx(4 * speed.MEMBER.batch_size)
