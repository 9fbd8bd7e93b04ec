"""Reads the Argo workflow of a run: its stages with their states, pods, inputs and outputs.

Only this module knows Argo's nodes, and version 1 of Kubeflow's API, which is the only version that returns them. The
name of a node is its path. With Kubeflow's defaults, every part of the path is retried after an error, and each attempt
has a number:

    audiotagging-x7k2p(0).root(0).for-loop-1(0).iteration-iterations(2:2)(0).iteration-item(0).train(0).executor(1)

is the second pod of the stage `train` for the third row of the loop. If an administrator has removed these defaults,
only the program is retried, and the same pod is
`audiotagging-x7k2p.root.for-loop-1.iteration-iterations(2:2).iteration-item.train.executor(1)`. After an error in the
outermost part there is a second tree below `audiotagging-x7k2p(1)`.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from kfp_server_api import ApiException

from audiotagging.results.final_state import workflow_nodes
from commands.cluster.answers import readable
from commands.cluster.client import Client
from components.cluster import NEEDS

TRY = re.compile(r"\((\d+)\)(?=\.|$)")
ROW = re.compile(r"-iterations\((\d+):\d+\)")
BROKEN = {"Failed", "Error"}  # phases of a failed node
OMITTED = {"Skipped", "Omitted"}  # phases of a node that did not run
SHUT_DOWN = re.compile("exceeded (its|workflow) deadline|shutdown with strategy")  # in a run that is stopped
STARTING = {"", "PodInitializing", "ContainerCreating"}  # reasons for waiting that are part of every start


@dataclass(frozen=True)
class Pod:
    """One attempt of the program of a stage, or of the driver that prepares it.

    Attributes:
        name: Its name in Kubernetes.
        driver: Whether it is a driver.
        number: Index of the attempt of its stage, counted across all trees.
        retry: Argo's number of the attempt, which Kubeflow appends to the URI of its log.
        phase: "Pending", "Running", "Succeeded", "Failed" or "Error".
        message: Why it waits or failed. Empty if Argo gives no reason.
        started: When it was created.
        finished: When it ended. None if it has not ended.
        log: URI of the log that Argo archived. None if there is none.
    """

    name: str
    driver: bool
    number: int
    retry: int
    phase: str
    message: str
    started: datetime | None
    finished: datetime | None
    log: str | None

    @property
    def broken(self) -> bool:
        """Whether the attempt failed."""
        return self.phase in BROKEN


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline. In the loop, there is one for each row.

    Attributes:
        name: Name of the stage, a key of `components.cluster.NEEDS`.
        row: Index of the row of the loop. None outside the loop.
        state: "preparing" (its driver is at work), "waiting" (see `reason`), "starting", "running", "done", "cached"
            (its outputs are those of an earlier run), "failed", "stopped" (with the run), or "omitted" (something
            before it failed).
        reason: What it waits for, in the words of Kubernetes. Empty if it does not wait.
        started: When its first pod was created, or its driver if it is cached. None if it has not started.
        finished: When it ended. None if it has not ended.
        pods: Its attempts, oldest first.
        drivers: The pods that prepared it, oldest first.
        memory: Memory limit of its program, such as "16Gi". Empty if unknown.
        executor_input: The input that the driver gave to the program: `{"inputs": ..., "outputs": ...}` as in
            Kubeflow's ExecutorInput. Empty if it has not started, or if it is cached.
    """

    name: str
    row: int | None
    state: str
    reason: str
    started: datetime | None
    finished: datetime | None
    pods: tuple[Pod, ...]
    drivers: tuple[Pod, ...]
    memory: str
    executor_input: dict[str, Any]

    @cached_property
    def inputs(self) -> dict[str, list[str]]:
        """URIs of the input artifacts by name."""
        return self._uris("inputs")

    @cached_property
    def outputs(self) -> dict[str, list[str]]:
        """URIs of the output artifacts by name.

        `executor-logs` is the output of the program. The launcher appends "-" and the pod's `retry` to its URI.
        """
        return self._uris("outputs")

    def _uris(self, side: str) -> dict[str, list[str]]:
        artifacts = self.executor_input.get(side, {}).get("artifacts", {})
        return {name: [each["uri"] for each in found["artifacts"]] for name, found in artifacts.items()}


@dataclass(frozen=True)
class Workflow:
    """The state of a run according to Argo.

    Attributes:
        namespace: The namespace of its pods.
        stages: The stages that have started, in the order in which they did.
        stopped: Whether somebody stopped the run.
        messages: Why the run failed as a whole, or why pods failed that belong to no stage, such as the one that
            prepares the loop.
    """

    namespace: str = ""
    stages: tuple[Stage, ...] = ()
    stopped: bool = False
    messages: tuple[str, ...] = ()


def read_workflow(client: Client, run_id: str) -> Workflow:
    """Return the state of a run according to Argo.

    The result is empty if the workflow has not started, or if the API of the server has no version 1 any more.
    """
    try:
        answer = client.get_text(f"/apis/v1beta1/runs/{run_id}")
    except ApiException as error:
        if error.status != 404:
            raise
        return Workflow()
    with readable(f"the workflow of run {run_id}"):
        manifest = json.loads(answer).get("pipeline_runtime", {}).get("workflow_manifest")
        return parse_workflow(json.loads(manifest)) if manifest else Workflow()


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
    others = [
        node.raw for node in nodes if not node.stage and node.raw["type"] == "Pod" and node.raw["phase"] in BROKEN
    ]
    stopped = spec.get("activeDeadlineSeconds") == 0 or "shutdown" in spec  # as Kubeflow and Argo do it
    return Workflow(
        namespace=workflow["metadata"].get("namespace", ""),
        stages=tuple(_stage(sorted(nodes, key=lambda node: node.tries), name, stopped=stopped) for nodes in groups),
        stopped=stopped,
        messages=(
            *([status["message"]] if status.get("message") else []),
            *(f"{node['displayName']}: {node.get('message', '')}" for node in others),
        ),
    )


class _Node:
    """An Argo node, with what its path says.

    Attributes:
        stage: The stage that it belongs to; empty if to none.
        role: "stage" for the stage as a whole, "executor" for its program, "driver" for its driver.
        row: Number of the loop's row; None outside the loop.
        tries: Number of the try of each part of the path that is tried again.
    """

    def __init__(self, node: dict[str, Any], workflow: str, *, bucket: str) -> None:
        path = node["name"].removeprefix(workflow)
        self.raw, self.bucket = node, bucket
        self.tries = tuple(int(number) for number in TRY.findall(path))
        row = ROW.search(path)
        self.row = int(row[1]) if row else None
        *above, last = ["", *TRY.sub("", path).split(".")]
        self.role = {"executor": "executor"}.get(last, "driver" if last.endswith("-driver") else "stage")
        stage = above[-1] if self.role == "executor" else last.removesuffix("-driver")
        self.stage = stage if stage in NEEDS else ""

    def pod(self, workflow: str, number: int) -> Pod:
        artifacts = self.raw.get("outputs", {}).get("artifacts", [])
        logs = [each["s3"]["key"] for each in artifacts if each["name"] == "main-logs" and "s3" in each]
        return Pod(
            name=f"{workflow}-{self.raw['templateName']}-{self.raw['id'].rpartition('-')[2]}",
            driver=self.role == "driver",
            number=number,
            retry=self.tries[-1] if self.tries else 0,
            phase=self.raw["phase"],
            message=self.raw.get("message", ""),
            started=_time(self.raw.get("startedAt")),
            finished=_time(self.raw.get("finishedAt")),
            log=f"minio://{self.bucket}/{logs[0]}" if logs else None,
        )


def _stage(nodes: list[_Node], workflow: str, *, stopped: bool) -> Stage:
    """Put together what the nodes of one stage of a run, stopped or not, say. They are sorted by their tries."""
    pods, drivers = (
        tuple(node.pod(workflow, number) for number, node in enumerate(_pods(nodes, role)))
        for role in ("executor", "driver")
    )
    state, reason = _state(nodes, pods)
    if stopped and state == "failed" and any(SHUT_DOWN.search(node.raw.get("message", "")) for node in nodes):
        state = "stopped"
    shown = drivers if state == "cached" else pods
    container = _container(_pods(nodes, "driver"))
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
        executor_input=_executor_input(container),
    )


def _pods(nodes: list[_Node], role: str) -> list[_Node]:
    return [node for node in nodes if node.role == role and node.raw["type"] == "Pod"]


def _state(nodes: list[_Node], pods: tuple[Pod, ...]) -> tuple[str, str]:
    """Return the state of a stage and what it waits for."""
    driver, whole = (_outermost(nodes, role).get("phase", "") for role in ("driver", "stage"))
    phase = driver if driver in BROKEN else whole  # of a stage whose driver failed Argo says that it was omitted
    if phase == "Succeeded":
        skipped = any(node.role == "executor" and node.raw["phase"] in OMITTED for node in nodes)
        return "cached" if skipped else "done", ""
    if phase in BROKEN | OMITTED:
        return "failed" if phase in BROKEN else "omitted", ""
    if not whole:
        return "omitted" if driver in OMITTED else "preparing", ""
    last = pods[-1] if pods else None
    if last and last.phase == "Running":
        return "running", ""
    if last and last.phase == "Pending" and last.message not in STARTING:
        return "waiting", last.message
    if last and last.broken and (message := _outermost(nodes, "executor").get("message", "")):  # until the next attempt
        return "waiting", message
    return "starting", ""


def _outermost(nodes: list[_Node], role: str) -> dict[str, Any]:
    """Return the node that represents all attempts of a role, in the last tree that has it, or {} if there is none."""
    found = [node for node in nodes if node.role == role]
    last = found[-1].tries if found else ()
    return next((node.raw for node in found if last[: len(node.tries)] == node.tries), {})


def _container(drivers: list[_Node]) -> dict[str, Any]:
    """Return the container that the last driver defined for the program."""
    for driver in reversed(drivers):
        parameters = driver.raw.get("outputs", {}).get("parameters", [])
        patch = next((each.get("value") for each in parameters if each["name"] == "pod-spec-patch"), "")
        if patch:
            return dict(json.loads(patch)["containers"][0])
    return {}


def _executor_input(container: dict[str, Any]) -> dict[str, Any]:
    command = container.get("command", [])
    return json.loads(command[command.index("--executor_input") + 1]) if command else {}


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
