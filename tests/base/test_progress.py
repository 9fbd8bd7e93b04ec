"""Lines about long work: how often they are logged, and that what reads them understands them."""

import logging

import pytest

from audiotagging.base import progress
from audiotagging.base.progress import INTERVAL, fraction, track


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes one second forward whenever it is read for an item of work."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def lines(caplog, clock, *, items, seconds):
    caplog.set_level(logging.INFO)
    for _ in track(range(items), label="predict", total=items):
        clock[0] += seconds
    return [record.getMessage() for record in caplog.records]


def test_a_line_comes_every_fifteen_seconds_and_at_the_end(caplog, clock):
    assert lines(caplog, clock, items=1000, seconds=1 / 32) == [
        "predict: 480 of 1 000, 32.0 per second, 16 s left",
        "predict: 960 of 1 000, 32.0 per second, 1 s left",
        "predict: 1 000 of 1 000, 32.0 per second",
    ]


def test_short_work_is_silent(caplog, clock):
    assert lines(caplog, clock, items=10, seconds=0.1) == []


def test_a_runner_asks_for_more_lines(caplog, clock, monkeypatch):
    monkeypatch.setenv(INTERVAL, "1")
    assert len(lines(caplog, clock, items=10, seconds=1)) == 10


def test_the_share_that_is_done_is_read_from_a_line(caplog, clock):
    shares = [fraction(line) for line in lines(caplog, clock, items=4, seconds=60)]
    assert shares == [0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize(
    "message", ["104 clips: 0 rejected", "trained 3 epochs, loss 1.2", "agreement: it chose 38 of 150 noisy clips", ""]
)
def test_other_messages_are_no_progress(message):
    assert fraction(message) is None
