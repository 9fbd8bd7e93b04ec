"""Every row of `make bench` runs: here on a few clips, small pictures and with one round."""

import sys
from dataclasses import replace

import pytest

from benchmarks import __main__ as bench
from benchmarks import frame, onnx, preprocessing, threads, training

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("narrow_networks")]


@pytest.fixture(scope="module", autouse=True)
def little_work():
    with pytest.MonkeyPatch.context() as patch:
        for module in (onnx, preprocessing, training):
            patch.setattr(module, "race", lambda ours, other, rounds=1: frame.race(ours, other, rounds=1))
        patch.setattr(preprocessing, "CLIPS", 8)
        patch.setattr(preprocessing, "REPEATS", 1)
        patch.setattr(training, "CLIPS", 4)
        patch.setattr(training, "STEP", replace(training.STEP, size=32, batch_size=2))
        patch.setattr(threads, "WARM_UP", 0)
        patch.setattr(threads, "STEPS", 1)
        yield


@pytest.mark.parametrize("name", bench.ROWS)
def test_a_row_compares_two_figures(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", name])
    bench.main()
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split() == ["row", "ours", "other", "ratio", "unit"]
    assert row.startswith(name) and all(float(figure) > 0 for figure in row.removeprefix(name).split()[:3])
