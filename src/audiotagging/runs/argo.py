"""Reads the Argo workflow of a run: its stages with their states, pods, inputs and outputs.

Only this module knows Argo's nodes. The name of a node is its path. With Kubeflow's defaults, every part of the path is
retried after an error, and each attempt has a number:

    audiotagging-x7k2p(0).root(0).for-loop-1(0).iteration-iterations(2:2)(0).iteration-item(0).train(0).executor(1)

is the second pod of the stage `train` for the third row of the loop. If an administrator has removed these defaults,
only the program is retried, and the same pod is
`audiotagging-x7k2p.root.for-loop-1.iteration-iterations(2:2).iteration-item.train.executor(1)`. After an error in the
outermost part there is a second tree below `audiotagging-x7k2p(1)`.
"""

import base64
import gzip
import json
import re
from datetime import datetime
from typing import Any

from audiotagging.runs.run_stages import BROKEN, STAGES, Pod, Stage, Workflow

HOUR = 3600  # seconds
TRY = re.compile(r"\((\d+)\)(?=\.|$)")
ROW = re.compile(r"-iterations\((\d+):\d+\)")
OMITTED = {"Skipped", "Omitted"}  # phases of a node that did not run
SHUT_DOWN = re.compile("exceeded (its|workflow) deadline|shutdown with strategy")  # in a run that is stopped
# Which phases of an attempt each of Argo's policies tries again.
TRIED_AGAIN = {"OnFailure": {"Failed"}, "OnError": {"Error"}, "Always": {"Failed", "Error"}}


def workflow_nodes(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the nodes of an Argo workflow (https://argo-workflows.readthedocs.io/en/latest/fields/#nodestatus).

    Args:
        workflow: An object of Argo's API. Its nodes are compressed if they take more than a megabyte.

    Returns:
        The nodes, none if the workflow has not started.

    Raises:
        ValueError, OSError: If the compressed nodes cannot be read.
    """
    status = workflow.get("status", {})
    if packed := status.get("compressedNodes"):
        return list(json.loads(gzip.decompress(base64.b64decode(packed))).values())
    return list((status.get("nodes") or {}).values())


def parse_workflow(workflow: dict[str, Any]) -> Workflow:
    """Parse a workflow, which is an object of Argo's API."""
    name, spec, status = workflow["metadata"]["name"], workflow.get("spec", {}), workflow.get("status", {})
    repository = status.get("artifactRepositoryRef", {}).get("artifactRepository", {}).get("s3", {})
    nodes = [_Node(each, name, bucket=repository.get("bucket", "")) for each in workflow_nodes(workflow)]
    found: dict[tuple[str, int | None], list[_Node]] = {}
    for node in nodes:
        if node.stage:
            found.setdefault((node.stage, node.row), []).append(node)
    groups = sorted(found.values(), key=lambda nodes: min(node.raw.get("startedAt") or "9" for node in nodes))
    others = {node.path: node.pod(name, 0) for node in sorted(nodes, key=lambda node: node.tries) if node.is_other}
    stopped = spec.get("activeDeadlineSeconds") == 0 or "shutdown" in spec  # as Kubeflow and Argo do it
    policies = _policies(spec)
    return Workflow(
        namespace=workflow["metadata"].get("namespace", ""),
        stages=tuple(
            _stage(sorted(nodes, key=lambda node: node.tries), name, policies, stopped=stopped) for nodes in groups
        ),
        others=tuple(pod for pod in others.values() if pod.phase not in {"Succeeded", *OMITTED}),
        stopped=stopped,
        message=status.get("message", ""),
    )


def _policies(spec: dict[str, Any]) -> dict[str, str]:
    """Return the retry policies by template. Those that name none get the default, which is under the name ""."""
    default = spec.get("templateDefaults", {}).get("retryStrategy", {}).get("retryPolicy", "OnFailure")
    strategies = {each["name"]: each.get("retryStrategy") or {} for each in spec.get("templates", [])}
    return {"": default} | {name: strategy.get("retryPolicy", default) for name, strategy in strategies.items()}


class _Node:
    """An Argo node, with what its path says.

    Attributes:
        stage: The stage that it belongs to; empty if to none.
        role: "stage" for the stage as a whole, "executor" for its program, "driver" for its driver, or the name of
            Kubeflow's task if it belongs to no stage.
        row: Number of the loop's row; None outside the loop.
        tries: Number of the try of each part of the path that is tried again.
        path: The path without these numbers.
    """

    def __init__(self, node: dict[str, Any], workflow: str, *, bucket: str) -> None:
        path = node["name"].removeprefix(workflow)
        self.raw, self.bucket, self.path = node, bucket, TRY.sub("", path)
        self.tries = tuple(int(number) for number in TRY.findall(path))
        row = ROW.search(path)
        self.row = int(row[1]) if row else None
        *above, last = ["", *self.path.split(".")]
        stage = above[-1] if last == "executor" else last.removesuffix("-driver")
        self.stage = stage if stage in STAGES else ""
        role = "executor" if last == "executor" else "driver" if last.endswith("-driver") else "stage"
        self.role = role if self.stage else last

    @property
    def is_other(self) -> bool:
        """Whether it is a pod of no stage."""
        return self.raw["type"] == "Pod" and not self.stage

    def pod(self, workflow: str, number: int) -> Pod:
        artifacts = self.raw.get("outputs", {}).get("artifacts", [])
        logs = [each["s3"]["key"] for each in artifacts if each["name"] == "main-logs" and "s3" in each]
        return Pod(
            name=f"{workflow}-{self.raw['templateName']}-{self.raw['id'].rpartition('-')[2]}",
            role=self.role,
            number=number,
            retry=self.tries[-1] if self.tries else 0,
            phase=self.raw["phase"],
            message=self.raw.get("message", ""),
            node=self.raw.get("hostNodeName", ""),
            started=_time(self.raw.get("startedAt")),
            finished=_time(self.raw.get("finishedAt")),
            log=f"minio://{self.bucket}/{logs[0]}" if logs else None,
        )


def _stage(nodes: list[_Node], workflow: str, policies: dict[str, str], *, stopped: bool) -> Stage:
    """Put together what the nodes of one stage of a run, stopped or not, say. They are sorted by their tries."""
    pods, drivers = (
        tuple(node.pod(workflow, number) for number, node in enumerate(_pods(nodes, role)))
        for role in ("executor", "driver")
    )
    state, reason = _state(nodes, pods, drivers, policies)
    if stopped and state == "failed" and any(SHUT_DOWN.search(node.raw.get("message", "")) for node in nodes):
        state = "stopped"
    shown = drivers if state == "cached" else pods
    patch = _patch(_pods(nodes, "driver"))
    container = patch["containers"][0] if patch else {}
    ends = [pod.finished for pod in shown if pod.finished]
    return Stage(
        name=nodes[0].stage,
        row=nodes[0].row,
        state=state,
        reason=reason,
        started=min((pod.started for pod in shown if pod.started), default=None),
        finished=max(ends, default=None) if state in {"done", "cached", "failed", "stopped"} else None,
        pods=pods,
        drivers=drivers,
        memory=container.get("resources", {}).get("limits", {}).get("memory", ""),
        hours=patch["activeDeadlineSeconds"] / HOUR if "activeDeadlineSeconds" in patch else None,
        executor_input=_executor_input(container),
    )


def _pods(nodes: list[_Node], role: str) -> list[_Node]:
    return [node for node in nodes if node.role == role and node.raw["type"] == "Pod"]


def _state(
    nodes: list[_Node], pods: tuple[Pod, ...], drivers: tuple[Pod, ...], policies: dict[str, str]
) -> tuple[str, str]:
    """Return the state of a stage and what it or its driver waits for."""
    driver, whole = (_outermost(nodes, role).get("phase", "") for role in ("driver", "stage"))
    phase = driver if driver in BROKEN else whole  # of a stage whose driver failed Argo says that it was omitted
    if phase == "Succeeded":
        skipped = any(node.role == "executor" and node.raw["phase"] in OMITTED for node in nodes)
        return "cached" if skipped else "done", ""
    if phase in BROKEN | OMITTED:
        return "failed" if phase in BROKEN else "omitted", ""
    if driver in OMITTED:
        return "omitted", ""
    attempts = pods if whole else drivers
    last = attempts[-1] if attempts else None
    if last and last.phase == "Pending" and not last.starting:
        return "waiting", last.message
    if not whole:
        return "preparing", ""
    if last and last.phase == "Running":
        return "running", ""
    retry = _outermost(nodes, "executor")
    if last and last.broken and (message := retry.get("message", "")):
        # Argo also waits if there will be no further attempt.
        policy = policies.get(retry["templateName"], policies[""])
        comes = last.phase in TRIED_AGAIN.get(policy, set())
        return ("waiting", message) if comes else ("failed", "")
    return "starting", ""


def _outermost(nodes: list[_Node], role: str) -> dict[str, Any]:
    """Return the node that represents all attempts of a role, in the last tree that has it, or {} if there is none."""
    found = [node for node in nodes if node.role == role]
    last = found[-1].tries if found else ()
    return next((node.raw for node in found if last[: len(node.tries)] == node.tries), {})


def _patch(drivers: list[_Node]) -> dict[str, Any]:
    """Return the patch with which the last driver defined the pod of the program, or {} if there is none."""
    for driver in reversed(drivers):
        parameters = driver.raw.get("outputs", {}).get("parameters", [])
        if patch := next((each.get("value") for each in parameters if each["name"] == "pod-spec-patch"), ""):
            return dict(json.loads(patch))
    return {}


def _executor_input(container: dict[str, Any]) -> dict[str, Any]:
    command = container.get("command", [])
    return json.loads(command[command.index("--executor_input") + 1]) if command else {}


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
