import logging

import pytest

import commands.budget as budget
from audiotagging.base.errors import UserError
from audiotagging.data.dataset import read_dataset
from commands import parse

MEASURE = budget._measure  # which no other test calls


def options(data, *more):
    return parse("run", ["--data", str(data), "--out", "out", *more])


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("5m", 300), ("1h", 3600), ("1.5h", 5400)])
def test_times(data, text, seconds):
    assert options(data, "--budget", text).budget == seconds
    assert budget._seconds(budget._written(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "0m", "5 m", "1d", "nan", "1e3s", "\u0665m"])
def test_other_texts_are_refused(data, text):
    with pytest.raises(UserError, match="expected a time such as 90s, 5m or 1h"):
        options(data, f"--budget={text}")


@pytest.mark.parametrize(
    ("given", "decides"), [([], True), (["--members", "demo"], False), (["--set", "epochs=2"], False)]
)
def test_members_and_fields_decide_what_is_trained(data, given, decides):
    assert budget.uses_budget(options(data, *given)) == decides
    if not decides:
        with pytest.raises(UserError, match=f"--budget and {given[0]} both say what to train"):
            budget.uses_budget(options(data, "--budget", "5m", *given))


def test_a_run_that_is_resumed_trains_the_members_of_before(data, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    speeds = iter([100.0])
    monkeypatch.setattr(budget, "_measure", lambda: next(speeds))
    monkeypatch.setattr(budget, "threads", lambda: 2)
    dataset = read_dataset(data)

    def rows(*more):
        return budget.rows_within(options(data, *more), dataset, gpus=[], work=tmp_path)

    first = rows()
    assert "budget of 5 min: 2 networks" in caplog.text and "With --budget 1h: 4 networks" in caplog.text
    assert rows() == first  # it is not measured again
    assert rows("--budget", "20m") != first
    assert {row["fold"] for row in rows("--folds", "0,1")} == {0, 1}


def test_a_budget_that_is_too_short_is_said(data, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(budget, "_measure", lambda: 0.1)
    row, _ = budget.rows_within(options(data, "--budget", "30s"), read_dataset(data), gpus=[], work=tmp_path)
    assert row["epoch_size"] == 1 and "takes longer than the budget" in caplog.text


@pytest.mark.slow
def test_the_speed_of_this_machine_is_measured():
    assert 0.1 < MEASURE() < 1e6


def test_only_runs_on_this_machine_have_a_budget(data):
    with pytest.raises(UserError, match="unrecognized arguments: --budget 5m"):
        parse("submit", ["--data", str(data), "--budget", "5m"])
