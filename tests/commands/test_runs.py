"""The verbs for a run: runs, follow, stop, retry; against a server that answers as Kubeflow Pipelines does."""

import json
import re

import pytest
from helpers.workflows import recorded, without_news

from audiotagging.runs.argo import parse_workflow


@pytest.fixture
def names(server, call):
    """Four runs on the server, two of the same name; their ids by age."""
    for name in ("first", "twice", "twice", "last"):
        assert call("submit", "--data", "demo", "--name", name)[0] == 0
    server.requests = []
    return list(server.runs)


@pytest.mark.parametrize(
    ("wanted", "number"),
    [("first", 0), ("latest", 3), ("last", 3), ("20402", 2), ("10402d41-98b6-4f62-a7a6-b6a3bd20cdb5", 1)],
)
def test_a_run_is_meant_by_its_id_its_beginning_its_name_or_as_the_latest(server, call, names, wanted, number):
    server.story = [("RUNNING", None)]
    code, output, _ = call("stop", wanted)
    assert code == 0 and names[number] in output and "is stopping" in output
    assert server.requests[-1] == f"POST /apis/v2beta1/runs/{names[number]}:terminate"


def test_runs_are_found_also_beyond_a_page(server, call, names, monkeypatch):
    monkeypatch.setattr("commands.cluster.runs.PAGE", 1)
    assert call("stop", "first")[0] == 0


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("twice", "2 runs have a name or id that matches 'twice'; use an id: 20402d41"),
        ("none", "expected the id or the name of a run in experiment 'audiotagging', found 'none'"),
        ("90402d41-98b6-4f62-a7a6-b6a3bd20cdb5", "Run 90402d41-98b6-4f62-a7a6-b6a3bd20cdb5 not found"),
    ],
)
@pytest.mark.parametrize("verb", ["stop", "retry", "follow"])
def test_a_run_that_is_not_there_or_not_the_only_one_is_an_error_in_one_line(call, names, verb, wanted, message):
    code, _, error = call(verb, wanted)
    assert code == 2 and message in error and error.count("\n") == 1


def test_without_an_experiment_there_are_no_runs_and_none_is_made(server, call):
    code, output, _ = call("runs", "--experiment", "other")
    assert code == 0 and output == "name  id  pipeline  state  started  duration  result\n" and not server.experiments


def test_the_newest_runs_are_listed_with_their_scores(server, call, names):
    workflow = recorded("retried")
    (evaluate,) = [stage for stage in parse_workflow(workflow).stages if stage.name == "evaluate"]
    server.artifacts[evaluate.outputs["scores"][0]] = json.dumps({"ensemble": {"all": 0.75424, "public": 0.6}})
    server.story = [("SUCCEEDED", workflow)]
    code, output, _ = call("runs", "--limit", "2")
    assert code == 0
    rows = [line.split() for line in output.splitlines()]
    assert [row[:4] for row in rows[1:]] == [
        [name, number, "training", "succeeded"] for name, number in (("last", "30402d41"), ("twice", "20402d41"))
    ]
    assert [row[-4:] for row in rows[1:]] == [[n, "min", "lwlrap", "0.7542"] for n in ("56", "58")]  # to 08:59:30


SUBMIT = ["submit", "--data", "demo", "--name"]
TAG = ["submit", "--pipeline", "tagging", "--data", "new", "--out", "night", "--name"]


@pytest.fixture
def both(server, call):
    """A run of each pipeline, the tagging one last, which tagged eight files."""
    assert [call(*SUBMIT, "trained")[0], call(*TAG, "tagged")[0]] == [0, 0]
    workflow = recorded("retried")  # with a stage `collect` in place of `evaluate`
    for node in workflow["status"]["nodes"].values():
        node["name"] = re.sub(r"\.evaluate(?=\(|$|-)", ".collect", node["name"])
    (collect,) = [stage for stage in parse_workflow(workflow).stages if stage.name == "collect"]
    said = ("fine: 8 files compared", "8 files (1 unreadable), 9 tags: /tags/night/batches/3")
    server.logs[collect.pods[0].name] = "\n".join(f"[KFP Executor 2026-11-24 08:21:50,1 INFO]: {line}" for line in said)
    server.story = [("SUCCEEDED", workflow)]
    return list(server.runs)


def test_the_list_knows_both_pipelines(call, both):
    rows = [re.split("  +", line) for line in call("runs")[1].splitlines()[1:]]
    assert [row[:3:2] for row in rows] == [["tagged", "tagging"], ["trained", "training"]]
    assert rows[0][-1] == "8 files (1 unreadable), 9 tags"
    assert len(call("runs", "--pipeline", "training")[1].splitlines()) == 2


def test_the_latest_run_may_be_that_of_one_pipeline(server, call, both):
    assert call("follow", "latest")[1].endswith("8 files (1 unreadable), 9 tags: /tags/night/batches/3\n")
    server.story = [("RUNNING", None)]
    for pipeline, number in (("training", 0), ("tagging", 1)):
        assert both[number] in call("stop", "latest", "--pipeline", pipeline)[1]


def test_only_a_training_has_results(call, both, tmp_path):
    code, _, error = call("results", "tagged", "--out", str(tmp_path / "out"))
    assert code == 2 and error.count("\n") == 1 and "found one that tagged" in error
    _, _, error = call("results", "latest", "--out", str(tmp_path / "out"))
    assert f"run {both[0]}: expected the stage evaluate to be done" in error  # of the training, although it is older


@pytest.mark.parametrize(
    ("state", "name", "word"),
    [("RUNNING", "waiting", "running"), ("FAILED", "refused", "failed"), ("FAILED", "stopped", "stopped")],
)
def test_the_list_tells_what_was_stopped_from_what_failed(server, call, names, state, name, word):
    server.story = [(state, recorded(name))]
    _, output, _ = call("runs", "--limit", "1")
    assert output.splitlines()[1].split()[3] == word


def test_scores_come_from_the_log_where_there_is_no_artifact(server, call, names):
    workflow = recorded("retried")
    (evaluate,) = [stage for stage in parse_workflow(workflow).stages if stage.name == "evaluate"]
    server.page, server.readable, server.story = False, True, [("SUCCEEDED", workflow)]
    server.logs[evaluate.pods[0].name] = (
        "[KFP Executor 2026-11-24 08:21:50,1 INFO]: lwlrap of the ensemble: all 0.7542, out_of_fold 0.7\n"
    )
    _, output, _ = call("follow", "last")
    assert output.endswith("lwlrap of the ensemble: all 0.7542, out_of_fold 0.7000\n")


def test_a_run_without_news_says_so_and_has_no_results(server, call, names, tmp_path):
    server.story = [("SUCCEEDED", without_news(recorded("retried")))]
    assert call("follow", "last")[1].endswith("nothing new since the last run that ended well\n")
    assert call("runs", "--limit", "1")[1].splitlines()[1].endswith("nothing new")
    code, _, error = call("results", "last", "--out", str(tmp_path / "out"))
    assert code == 2 and "found nothing new, so it has no results of its own" in error


@pytest.mark.parametrize(("state", "advice"), [("FAILED", "--wait` runs what is missing"), ("RUNNING", "wait for it")])
def test_a_run_without_results_says_what_to_do(server, call, names, tmp_path, state, advice):
    server.story = [(state, recorded("stopped"))]
    code, _, error = call("results", "last", "--out", str(tmp_path / "out"))
    assert code == 2 and advice in error and error.count("\n") == 1


def test_artifacts_of_a_user_are_asked_for_in_the_users_namespace(server, call):
    server.health["multi_user"] = True
    workflow = recorded("retried")
    (evaluate,) = [stage for stage in parse_workflow(workflow).stages if stage.name == "evaluate"]
    server.artifacts[evaluate.outputs["scores"][0]] = json.dumps({"ensemble": {"all": 0.75424}})
    server.story = [("SUCCEEDED", workflow)]
    _, output, _ = call("submit", "--data", "demo", "--namespace", "mine", "--wait")
    assert output.endswith("lwlrap of the ensemble: all 0.7542\n")


def test_only_a_run_that_ended_without_success_is_retried(server, call, names):
    for state in ("RUNNING", "SUCCEEDED"):
        server.story = [(state, None)]
        code, _, error = call("retry", "last")
        assert code == 2 and "expected a run that failed or was stopped" in error
    server.story = [("FAILED", None)]
    assert call("retry", "last")[0] == 0
    assert server.requests[-2] == f"POST /apis/v2beta1/runs/{names[3]}:retry"


def test_a_run_that_has_ended_is_not_stopped(server, call, names):
    server.story = [("SUCCEEDED", None)]
    code, output, _ = call("stop", "last")
    assert code == 0 and "has ended already" in output
    assert not any(request.startswith("POST") for request in server.requests)


@pytest.mark.parametrize("inside", ["http://ml-pipeline.kubeflow.svc.cluster.local:8888", "http://ml-pipeline:8888"])
def test_only_an_address_that_a_browser_can_open_is_printed_as_one(server, call, monkeypatch, inside):
    page = f"{server.url}/#/runs/details/"
    assert page in call("submit", "--data", "demo")[1]
    server.page = False  # the API alone
    _, output, _ = call("submit", "--data", "demo")
    assert "#/runs/details/" in output and "http" not in output
    server.page = True
    monkeypatch.setattr("commands.kfp_internals.Client._get_url_prefix", lambda _: inside)
    _, output, _ = call("submit", "--data", "demo")
    assert "#/runs/details/" in output and "http" not in output
    assert "http" not in call("schedule", "--data", "demo", "--every", "1d")[1]
