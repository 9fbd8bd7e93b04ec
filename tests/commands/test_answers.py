"""Whatever a server answers to whatever request, no command takes it for a defect of its own."""

import json
import pickle
import re
from pathlib import Path

import pytest
from helpers.workflows import recorded
from kfp.compiler import Compiler

import pipeline
from commands import main, schedule, submit
from commands.cluster import following, schedules

HTML = "<!doctype html>\n<html><head><title>Log in</title></head></html>"
ODD = {
    "nothing in it": (200, {}),
    "a list": (200, []),
    "null": (200, "null"),
    "a number": (200, "5"),
    "a page": (200, HTML),
    "empty": (200, ""),
    "an error": (500, {"error": "Internal", "message": "no database"}),
    "an error's page": (502, HTML),
    "lists of nothing": (200, {name: [None] for name in ("runs", "experiments", "pipelines", "recurringRuns")}),
    "other types": (200, {"runs": 5, "experiments": {"a": 1}, "run_id": [], "created_at": 7, "tag_name": [1]}),
    "broken off": lambda handler: setattr(handler, "missing", 10) or (200, '{"runs": [{"run_id": '),
    "deep": (200, "[" * 100_000),
    "no text": (200, b"\xff\xfe\0"),
    "an error without text": (500, b"\xff\xfe\0"),
    "the same page again": (200, {"experiments": [{"experiment_id": "a"}], "next_page_token": "again"}),
}
KEPT = ("runs", "schedules", "experiments", "pipelines", "versions", "packages")
RUN = "latest"
VERBS = {
    "submit": (["submit", "--data", "demo", "--wait"], "SUCCEEDED"),
    "schedule": (["schedule", "--cron", "0 0 4 * * 0", "--data", "demo"], "SUCCEEDED"),
    "list": (["schedule", "--list"], "RUNNING"),
    "pause": (["schedule", "--pause"], "SUCCEEDED"),
    "delete": (["schedule", "--delete", "--stop"], "SUCCEEDED"),
    "runs": (["runs"], "SUCCEEDED"),
    "follow": (["follow", RUN], "FAILED"),
    "results": (["results", RUN, "--out", "OUT"], "SUCCEEDED"),
    "stop": (["stop", RUN], "RUNNING"),
    "retry": (["retry", RUN, "--wait"], "FAILED"),
}


@pytest.fixture
def odd(server, call, monkeypatch, tmp_path):
    """Return a function that runs a verb on a server with a run and a schedule, some of whose answers are odd."""
    monkeypatch.setattr(following, "PATIENCE", 0)
    monkeypatch.setattr(schedules, "POLL", 0.01)
    monkeypatch.setattr(schedules, "STOP_SECONDS", 0.1)
    monkeypatch.setattr("commands.cluster.artifacts.TRIES", 1)
    workflow = recorded("retried")
    for arguments in (["submit"], ["schedule", "--cron", "0 0 3 * * 0"]):
        code, _, error = call(*arguments, "--data", "demo")
        assert code == 0, error
    kept = pickle.dumps({name: getattr(server, name) for name in KEPT})
    assert main(pipeline.PIPELINES, ["compile", "-o", str(tmp_path / "p.yaml")]) == 0  # once, because it takes long
    package = (tmp_path / "p.yaml").read_bytes()
    monkeypatch.setattr(Compiler, "compile", lambda self, function, path: Path(path).write_bytes(package))
    for module in (submit, schedule):
        monkeypatch.setattr(module, "on_cluster", lambda function, cluster: function)

    def run(verb, broken):
        arguments, state = VERBS[verb]
        vars(server).update(pickle.loads(kept))
        server.requests.clear()
        server.broken, server.story = broken, [(state, workflow)]
        return call(*(word.replace("OUT", str(tmp_path / "out")) for word in arguments))

    return run


@pytest.mark.parametrize("verb", VERBS)
def test_odd_answers_are_said_in_one_line(odd, server, verb):
    code, _, error = odd(verb, {})
    assert code in (0, 1) or verb == "results", error
    requests = set(server.requests)
    assert requests
    for request in sorted(requests):
        for answer in ODD.values():
            code, _, error = odd(verb, {re.escape(request): answer})
            assert code in (0, 1, 2), (request, answer, error)
            assert error.count("\n") <= 1 or code < 2, error
            assert code != 2 or (error.startswith("error: ") and len(error) <= 501)


def manifest(content):
    return 200, {
        "pipeline_runtime": {"workflow_manifest": content if isinstance(content, str) else json.dumps(content)}
    }


@pytest.mark.parametrize("verb", ["runs", "follow", "results", "retry"])
def test_odd_workflows_are_said_in_one_line(odd, verb):
    name = {"metadata": {"name": "x"}}
    for content in [
        *("{", "[]", "null", "5", "{}"),
        name | {"status": []},
        name | {"status": {"nodes": []}},
        name | {"status": {"nodes": {"a": {}}}},
        name | {"status": {"nodes": {"a": {"name": "x.train", "phase": 5, "type": "Pod"}}}},
        name | {"status": {"compressedNodes": "H4sIAAAA"}},
        name | {"status": {"compressedNodes": "%%%"}},
        name | {"status": {"nodes": {"a": {"name": "x(0).evaluate", "phase": "Succeeded", "type": "Retry"}}}},
    ]:
        code, _, error = odd(verb, {r"GET /apis/v1beta1/runs/.*": manifest(content)})
        assert code in (0, 1, 2), (content, error)


def test_odd_scores_and_logs_are_said_in_one_line(odd):
    for answer in ODD.values():
        for verb in ("runs", "submit", "follow"):
            code, _, error = odd(verb, {r"GET /artifacts/.*|GET /k8s/.*|GET /apis/v1alpha1/.*": answer})
            assert code in (0, 1, 2), (answer, error)
