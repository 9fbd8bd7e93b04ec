"""Follows a run on a cluster to its end: a line a change, and what failed with the end of its log.

What the stages are doing is read from the Argo workflow that Kubeflow keeps with a run, for it alone has their pods
and why one waits. A node of it is named by its path, as
`audiotagging-x7k2p.root.for-loop-1.iteration-iterations(2:2).iteration-item.train.executor(0)`: the stage `train` of
the loop's third row, first try.
"""

import base64
import gzip
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import urllib3
from kfp_server_api import ApiException

from commands.cluster.client import Client
from components.cluster import NEEDS

POLL = 5  # seconds between two looks
PATIENCE = 300  # seconds without an answer
LOG_LINES = 30
ENDED = {"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"}
BROKEN = {"Failed", "Error"}  # phases of a node
SKIPPED = {"Skipped", "Omitted"}
STARTING = {"PodInitializing", "ContainerCreating"}  # reasons to wait that pass by themselves
SCORES = re.compile(r"lwlrap of the ensemble: (.*)")
ROW = re.compile(r"iterations\((\d+):")


class Progress:
    """What has been said of a run's stages so far."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self._said: dict[str, str] = {}

    def changes(self, nodes: list[dict[str, Any]]) -> Iterator[str]:
        """Yield a line for every stage that is not as it was."""
        pods = [node for node in nodes if node["type"] == "Pod"]
        for node in sorted(nodes, key=lambda node: node.get("startedAt") or ""):
            if not is_stage(node):
                continue
            inner = [pod for pod in pods if pod["name"].startswith(f"{node['name']}.")]
            state = _state(node, inner, cached=self._cached(node, nodes))
            label = self.label(node["name"])
            if state and self._said.get(label) != state:
                self._said[label] = state
                yield f"{label} {state}"

    def label(self, path: str) -> str:
        """Return a stage's name for people: within the loop, with the member and the fold of its row."""
        stage = stage_of(path)
        row = ROW.search(path)
        if row is None or int(row[1]) >= len(self.rows):
            return stage
        values = self.rows[int(row[1])]
        return f"{stage} {values['id']}, fold {values['fold']:g}"

    @staticmethod
    def _cached(node: dict[str, Any], nodes: list[dict[str, Any]]) -> bool:
        executor = f"{node['name']}.executor"
        return any(each["name"] == executor and each.get("phase") in SKIPPED for each in nodes)


def is_stage(node: dict[str, Any]) -> bool:
    """Say whether a node is a stage as a whole, and not a part of it."""
    return node["type"] == "DAG" and node["name"].rpartition(".")[2] in NEEDS


def stage_of(path: str) -> str:
    """Return the stage that a node belongs to, or else its own name."""
    parts = [re.sub(r"\(.*|-driver.*", "", part) for part in path.split(".")]
    return next((part for part in reversed(parts) if part in NEEDS), path.rpartition(".")[2])


def _state(node: dict[str, Any], pods: list[dict[str, Any]], *, cached: bool) -> str:
    phases = [pod.get("phase") for pod in pods]
    if node.get("phase") == "Succeeded":
        return "unchanged, taken from the cache" if cached else "done"
    if node.get("phase") in BROKEN:
        return "failed"
    if "Running" in phases:
        tries = sum(phase in BROKEN for phase in phases)
        return f"running, try {tries + 1}" if tries else "running"
    if "Pending" in phases:
        reason = pods[phases.index("Pending")].get("message", "")
        return f"waiting: {reason}" if reason and reason not in STARTING else "starting"
    return ""


def follow(client: Client, run_id: str, rows: list[dict[str, Any]]) -> bool:
    """Print what happens to a run until it ends, and in the end its scores, or what failed and its log.

    Args:
        client: The connection.
        run_id: The run.
        rows: The rows of its loop.

    Returns:
        Whether it succeeded.
    """
    progress = Progress(rows)
    last_answer = time.monotonic()
    while True:
        try:
            run = client.get_run(run_id)
            nodes = read_nodes(client, run_id)
            last_answer = time.monotonic()
        except (ApiException, urllib3.exceptions.HTTPError):
            if time.monotonic() - last_answer > PATIENCE:
                raise
            time.sleep(POLL)
            continue
        for line in progress.changes(nodes):
            print(line, flush=True)
        if run.state in ENDED:
            break
        time.sleep(POLL)
    print(f"run {run.state.lower()}")
    if run.state == "SUCCEEDED":
        print(read_scores(client, run_id, nodes))
        return True
    if run.error and run.error.message:
        print(run.error.message)
    for line in explain(client, run_id, nodes, progress):
        print(line)
    return False


def read_nodes(client: Client, run_id: str) -> list[dict[str, Any]]:
    """Return the nodes of a run's workflow, each with its `pod`; none before it has started.

    Only version 1 of the API has the workflow. A server without it still says how a run ends.
    """
    try:
        detail = json.loads(client.get(f"/apis/v1beta1/runs/{run_id}"))
    except ApiException as error:
        if error.status != 404:
            raise
        return []
    manifest = detail.get("pipeline_runtime", {}).get("workflow_manifest")
    if not manifest:
        return []
    workflow = json.loads(manifest)
    status = workflow.get("status", {})
    nodes = status.get("nodes") or {}
    if packed := status.get("compressedNodes"):  # of more than a megabyte, as of thirty rows
        nodes = json.loads(gzip.decompress(base64.b64decode(packed)))
    name = workflow["metadata"]["name"]
    return [
        node | {"pod": f"{name}-{node.get('templateName', '')}-{node['id'].rpartition('-')[2]}"}
        for node in nodes.values()
    ]


def read_log(client: Client, run_id: str, pod: str) -> list[str]:
    """Return the lines that a pod printed; none if the server cannot read them."""
    try:
        text = client.get(f"/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log")
    except ApiException:
        return []
    return [] if text.startswith('{"error_message"') else text.splitlines()


def read_scores(client: Client, run_id: str, nodes: list[dict[str, Any]]) -> str:
    """Return a line with the scores, which the stage `evaluate` has printed; or why there is none."""
    for pod in (node for node in nodes if node["type"] == "Pod" and ".evaluate." in node["name"]):
        for line in read_log(client, run_id, pod["pod"]):
            if found := SCORES.search(line):
                return f"lwlrap of the ensemble: {found[1]}"
    cached = any(node["name"].endswith(".evaluate.executor") for node in nodes if node.get("phase") in SKIPPED)
    return "the scores are those of the run before: nothing had changed" if cached else "its page shows the scores"


def explain(client: Client, run_id: str, nodes: list[dict[str, Any]], progress: Progress) -> Iterator[str]:
    """Yield what failed: of each stage that never succeeded the last pod, why, and the end of its log."""
    done = {progress.label(node["name"]) for node in nodes if is_stage(node) and node.get("phase") == "Succeeded"}
    failed: dict[str, dict[str, Any]] = {}
    for node in sorted(nodes, key=lambda node: node.get("startedAt") or ""):
        label = progress.label(node["name"])
        if node["type"] == "Pod" and node.get("phase") in BROKEN and label not in done:
            failed[label] = node
    for label, node in failed.items():
        yield f"\n{label}: {node.get('message') or 'failed without a message'} (pod {node['pod']})"
        lines = read_log(client, run_id, node["pod"])
        missing = [f"no log from the server; as long as the pod is there: kubectl logs {node['pod']} -c main"]
        yield from (f"  {line}" for line in lines[-LOG_LINES:] or missing)
