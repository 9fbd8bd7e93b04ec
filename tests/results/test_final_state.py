"""How the stages of a run ended, as a server in place of Kubernetes' API says it."""

import base64
import gzip
import json
from http.server import BaseHTTPRequestHandler, HTTPServer

import certifi
import pytest
from helpers.background import running
from helpers.workflows import recorded

from audiotagging.results import final_state as module
from audiotagging.results.final_state import final_state

QUERY = "/apis/argoproj.io/v1alpha1/namespaces/kubeflow/workflows?labelSelector=pipeline%2Frunid%3Drun-1"


class Kubernetes(BaseHTTPRequestHandler):
    """Answers the one request that is expected with what the server has."""

    def do_GET(self):
        known = self.path == QUERY and self.headers["Authorization"] == "Bearer a-token"
        self.send_response(self.server.status if known else 404)
        self.end_headers()
        self.wfile.write(self.server.answer)

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
    monkeypatch.setattr(module, "SERVER", f"http://127.0.0.1:{server.server_port}")

    def answer(*workflows, status=200):
        server.answer, server.status = json.dumps({"items": workflows}).encode(), status

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
