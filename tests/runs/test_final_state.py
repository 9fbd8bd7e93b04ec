"""How the stages of a run ended, as a server in place of Kubernetes' API says it."""

import base64
import gzip
import json
import re
from http.server import BaseHTTPRequestHandler, HTTPServer

import certifi
import pytest
from helpers.background import running
from helpers.workflows import FOLDER, changed, recorded, without_news

from audiotagging.runs import final_state as module
from audiotagging.runs.final_state import failed_before, failures, final_state, was_idle

QUERY = "/apis/argoproj.io/v1alpha1/namespaces/kubeflow/workflows?labelSelector=pipeline%2Frunid%3Drun-1"
LOG = re.compile(r"/api/v1/namespaces/kubeflow/pods/([\w-]+)/log\?container=main&tailLines=\d+")
ROWS = [{"id": member, "fold": fold} for member, fold in (("a", 0.0), ("b", -1.0))]


class Kubernetes(BaseHTTPRequestHandler):
    """Answers the requests that are expected with what the server has, also those to Kubeflow's API."""

    def do_GET(self):
        server, log = self.server, LOG.fullmatch(self.path)
        known = self.headers["Authorization"] == "Bearer a-token"
        if self.path == "/apis/v2beta1/runs/run-1":
            known, answer = server.history is not None, json.dumps({"state_history": server.history}).encode()
        elif log:
            known, answer = known and log[1] in server.logs, server.logs.get(log[1], "").encode()
        else:
            known, answer = known and self.path == QUERY, server.answer
        self.send_response(server.status if known else 404)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@pytest.fixture
def kubernetes(tmp_path, monkeypatch):
    """A function that starts to answer with these workflows, and with a status."""
    server = HTTPServer(("127.0.0.1", 0), Kubernetes)
    for name, content in (("token", "a-token"), ("namespace", "kubeflow")):
        (tmp_path / name).write_text(content)
    (tmp_path / "ca.crt").symlink_to(certifi.where())
    monkeypatch.setattr(module, "ACCOUNT", tmp_path)
    for name in ("SERVER", "KUBEFLOW"):
        monkeypatch.setattr(module, name, f"http://127.0.0.1:{server.server_port}")

    def answer(*workflows, status=200, logs=None, history=None):
        server.answer, server.status = json.dumps({"items": workflows}).encode(), status
        server.logs, server.history = logs or {}, history

    with running(server):
        yield answer


def workflow(*phases, compressed=False):
    """Return a workflow with one tree of nodes for each phase of the exit handler, the newest first."""
    nodes = {}
    for number, phase in reversed(list(enumerate(phases))):
        for name, when in (("exit-handler-1", 10), ("exit-handler-1(0)", 11), ("notify-driver", 20)):
            nodes[f"{name}-{number}"] = {
                "displayName": name,
                "phase": phase if name.startswith("exit") else "Running",
                "startedAt": f"2026-01-01T0{number}:00:{when}Z",
            }
    if not compressed:
        return {"status": {"nodes": nodes}}
    return {"status": {"compressedNodes": base64.b64encode(gzip.compress(json.dumps(nodes).encode())).decode()}}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("phases", "state"),
    [
        (["Succeeded"], "COMPLETE"),
        (["Failed"], "FAILED"),
        (["Error"], "FAILED"),
        (["Error", "Succeeded"], "COMPLETE"),
        (["Error", "Error", "Failed"], "FAILED"),
    ],
)
def test_the_state_is_that_of_the_tasks_last_node(kubernetes, phases, state, compressed):
    kubernetes(workflow(*phases, compressed=compressed))
    assert final_state("run-1", task="exit-handler-1") == state


def test_a_driver_that_failed_counts(kubernetes):
    # Kubeflow's metadata called the stages of this run RUNNING.
    kubernetes(recorded("unprepared"))
    assert final_state("run-1", task="exit-handler-1") == "FAILED"
    assert final_state("run-1", task="root-driver") == "COMPLETE"


@pytest.mark.parametrize(
    ("workflows", "status"),
    [
        ([], 200),  # removed
        ([workflow("Succeeded"), workflow("Failed")], 200),
        ([workflow("Succeeded")], 403),  # the account may not read workflows
        ([{"status": {"offloadNodeStatusVersion": "fnv:784644894"}}], 200),  # the nodes are in Argo's database
        ([workflow()], 200),
        ([workflow("Running")], 200),
    ],
)
def test_what_cannot_be_found_out_is_logged(kubernetes, caplog, workflows, status):
    kubernetes(*workflows, status=status)
    assert final_state("run-1", task="exit-handler-1") is None
    assert "the workflow of the run cannot be read" in caplog.text


def test_outside_a_pod_the_state_is_unknown(caplog):
    assert final_state("run-1", task="exit-handler-1") is None
    assert "the workflow of the run cannot be read" in caplog.text


TRAIN = ".iteration-iterations(1:1)(0).iteration-item(0).train"


def failed_training():
    """Return a workflow in which a training and then `notify` failed, and the name of the training's pod."""
    path = f"{TRAIN}(0).executor(0)"
    workflow = changed(recorded("retried"), path, phase="Failed", message="main: Error (exit code 1)")
    (node,) = [each for each in workflow["status"]["nodes"].values() if each["name"].endswith(path)]
    name = workflow["metadata"]["name"]
    told = {"name": f"{name}(0).root(0).notify", "displayName": "notify", "type": "Retry", "phase": "Failed", "id": "n"}
    workflow["status"]["nodes"]["n"] = node | told | {"templateName": "notify"}
    pod = f"{name}-{node['templateName']}-{node['id'].rpartition('-')[2]}"
    return changed(workflow, TRAIN, phase="Failed"), pod


def test_the_stages_that_failed_are_named_with_member_and_fold_and_why(kubernetes):
    workflow, pod = failed_training()
    kubernetes(workflow, logs={pod: (FOLDER / "killed.log").read_text()})
    ((who, reason),) = failures("run-1", ROWS)
    assert (who, reason.text) == ("train b, fold -1", "killed, most likely because memory ran out")
    ((who, _),) = failures("run-1", [])
    assert who == "train 2"


def test_without_a_log_the_reason_is_what_kubernetes_says(kubernetes, caplog):
    kubernetes(failed_training()[0])
    ((_, reason),) = failures("run-1", ROWS)
    assert reason.text == "main: Error (exit code 1)" and "cannot be read" in caplog.text


def test_a_driver_that_failed_is_named(kubernetes):
    kubernetes(recorded("unprepared"))
    ((who, _),) = failures("run-1", [])
    assert who == "Kubeflow's own driver of ingest"


def test_failures_that_cannot_be_found_out_are_none(kubernetes, caplog):
    kubernetes(status=403)
    assert failures("run-1", ROWS) == [] and "the failures of the run cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("states", "failed"),
    [(["PENDING", "RUNNING"], False), (["PENDING", "RUNNING", "FAILED", "RUNNING"], True), (None, False)],
)
def test_a_run_knows_whether_it_failed_before(kubernetes, caplog, states, failed):
    kubernetes(history=states and [{"state": state} for state in states])
    assert failed_before("run-1") == failed
    assert ("the earlier states of the run cannot be read" in caplog.text) == (states is None)


def test_a_run_knows_whether_it_had_anything_to_do(kubernetes, caplog):
    kubernetes(recorded("retried"))
    assert not was_idle("run-1")
    kubernetes(without_news(recorded("retried")))
    assert was_idle("run-1")
    kubernetes(status=403)
    assert not was_idle("run-1") and "the stages of the run cannot be read" in caplog.text
