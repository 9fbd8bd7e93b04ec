"""The results of a run that are sent to an MLflow server."""

import json
import logging

import pytest
from helpers.background import running
from helpers.fabricated import fabricate_run, finish_run
from helpers.mlflow_server import MlflowServer

from audiotagging.artifacts.model_folder import read_history
from audiotagging.members import REFERENCE
from commands.mlflow import send_results


@pytest.fixture
def mlflow(monkeypatch):
    for name in ("TOKEN", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    with running(MlflowServer()) as server:
        yield server


@pytest.fixture(scope="module")
def out(tmp_path_factory, blank_plots):
    folder = fabricate_run(tmp_path_factory.mktemp("run"))
    finish_run(folder)
    return folder


def test_everything_that_is_worth_comparing_is_sent(mlflow, out):
    for _ in range(2):  # the second time, there is an experiment
        assert send_results(out, mlflow.url)
    assert mlflow.experiments == {"audiotagging": "1"} and len(mlflow.runs) == 2
    run, *_ = mlflow.runs.values()
    assert run["status"] == "FINISHED" and run["run_name"] == out.name
    member = REFERENCE[0]
    assert run["params"][f"{member.id}/epochs"] == str(member.epochs)
    scores = json.loads((out / "scores.json").read_text())
    values = {each["key"]: each["value"] for each in run["metrics"]}
    for name, score in scores["ensemble"].items():
        assert values[f"ensemble/lwlrap/{name}"] == score
        assert values[f"{member.id}/lwlrap/{name}"] == scores["members"][member.id][name]
        assert values[f"ensemble/lwlrap/{name}/low"] == scores["estimates"][name]["ensemble"]["low"]
    history = read_history(out / "models" / f"{member.id}-fold0")
    losses = {each["step"]: each["value"] for each in run["metrics"] if each["key"] == f"{member.id}-fold0/loss"}
    assert losses == dict(zip(history["epoch"], history["loss"], strict=True))
    for name in ("report.html", "scores.json", "submission.csv"):
        assert mlflow.artifacts[f"1/{0:032x}/artifacts/{name}"] == (out / name).read_bytes()


def test_variables_name_the_experiment_and_the_user(mlflow, out, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "birds")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    assert send_results(out, f"{mlflow.url}/")
    assert list(mlflow.experiments) == ["birds"] and mlflow.headers["authorization"] == "Basic bWU6c2VjcmV0"
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abc")
    assert send_results(out, mlflow.url) and mlflow.headers["Authorization"] == "Bearer abc"


@pytest.mark.parametrize(
    ("refused", "found"),
    [
        ("experiments", "experiments/get-by-name: expected an answer of MLflow, found status 500"),
        ("log-batch", "runs/log-batch: expected an answer of MLflow, found status 500"),
        ("report.html", "report.html: expected an answer of MLflow, found status 500"),
    ],
)
def test_what_goes_wrong_is_told_and_no_error(mlflow, out, caplog, refused, found):
    mlflow.refused = refused
    assert not send_results(out, mlflow.url)
    assert found in caplog.text and "not, or not all, sent" in caplog.text
    assert {run["status"] for run in mlflow.runs.values()} <= {"FAILED"}


def test_a_server_that_does_not_answer_is_told(out, caplog):
    with running(MlflowServer()) as server:
        url = server.url
    assert not send_results(out, url)
    assert "not, or not all, sent to MLflow" in caplog.text


def test_a_server_that_takes_no_files_gets_the_numbers(mlflow, out, caplog):
    mlflow.scheme = "s3"
    with caplog.at_level(logging.WARNING):
        assert send_results(out, mlflow.url)
    assert not mlflow.artifacts and "the report was not sent to MLflow" in caplog.text
    assert mlflow.runs[f"{0:032x}"]["metrics"]
