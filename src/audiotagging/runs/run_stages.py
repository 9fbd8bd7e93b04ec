"""A run on a cluster: its stages, and their pods."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

STAGES = (
    *("ingest", "preprocess", "select", "train", "predict", "ensemble", "rescore", "promote", "evaluate"),
    *("conclude", "notify"),
    *("find", "tag", "collect"),
)
NOTIFY = "notify"
FIRST = ("ingest", "find")  # stages that see whether there is anything to do
BROKEN = {"Failed", "Error"}  # phases of a failed pod
STARTING = {"", "PodInitializing", "ContainerCreating"}  # reasons for waiting that are part of every start
UNFINISHED = {"preparing", "waiting", "starting", "running"}  # states of a stage


@dataclass(frozen=True)
class Pod:
    """One attempt of the program of a stage, or of the driver that prepares it.

    Attributes:
        name: Its name in Kubernetes.
        role: "executor" for a program, "driver" for the driver that prepares it, or the name of Kubeflow's task in a
            pod of no stage, such as "iteration-driver".
        number: Index of the attempt of its stage, counted across all trees.
        retry: Argo's number of the attempt, which Kubeflow appends to the URI of its log.
        phase: "Pending", "Running", "Succeeded", "Failed" or "Error".
        message: Why it waits or failed. Empty if Argo gives no reason.
        node: The node of the cluster that it is on. Empty before it is on one.
        started: When it was created.
        finished: When it ended. None if it has not ended.
        log: URI of the log that Argo archived. None if there is none.
    """

    name: str
    role: str
    number: int
    retry: int
    phase: str
    message: str
    node: str
    started: datetime | None
    finished: datetime | None
    log: str | None

    @property
    def broken(self) -> bool:
        """Whether the attempt failed."""
        return self.phase in BROKEN

    @property
    def starting(self) -> bool:
        """Whether it has not started, and Argo gives no reason."""
        return self.phase == "Pending" and self.message in STARTING


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline. In the loop, there is one for each row.

    Attributes:
        name: Name of the stage, one of `STAGES`.
        row: Index of the row of the loop. None outside the loop.
        state: "preparing" (its driver is at work), "waiting" (see `reason`), "starting", "running", "done", "cached"
            (its outputs are those of an earlier run), "failed", "stopped" (with the run), or "omitted" (something
            before it failed).
        reason: What it or its driver waits for, in the words of Kubernetes. Empty if it does not wait.
        started: When its first pod was created, or its driver if it is cached. None if it has not started.
        finished: When it ended. None if it has not ended.
        pods: Its attempts, oldest first.
        drivers: The pods that prepared it, oldest first.
        memory: Memory limit of its program, such as "16Gi". Empty if unknown.
        hours: Maximum hours of one attempt. None if unknown.
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
    hours: float | None
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
        others: The last attempts of pods that belong to no stage, such as the one that prepares the loop, without those
            that succeeded.
        stopped: Whether somebody stopped the run.
        message: Why the run failed as a whole. Empty if Argo gives no reason.
    """

    namespace: str = ""
    stages: tuple[Stage, ...] = ()
    others: tuple[Pod, ...] = ()
    stopped: bool = False
    message: str = ""

    @property
    def unfinished(self) -> Iterator[tuple[Stage | None, Pod]]:
        """The last pod of every stage that has not ended, or its driver, then the pods of no stage."""
        for stage in self.stages:
            attempts = stage.pods or stage.drivers
            if stage.state in UNFINISHED and attempts:
                yield stage, attempts[-1]
        yield from ((None, pod) for pod in self.others if not pod.broken)

    @property
    def idle(self) -> bool:
        """Whether there was nothing to do, so that no stage ran but the first one."""
        return [(stage.name in FIRST, stage.state) for stage in self.stages if stage.name != NOTIFY] == [(True, "done")]

    @property
    def failed(self) -> list[tuple[Stage | None, Pod | None]]:
        """The stages that failed with their last pod that did, if they had one, then the pods of no stage that failed.

        The stage `notify` fails when it has told that others did (`components.notify`), which is no failure of its own.
        """
        found: list[tuple[Stage | None, Pod | None]] = [
            (stage, next((pod for pod in reversed((*stage.drivers, *stage.pods)) if pod.broken), None))
            for stage in self.stages
            if stage.state == "failed"
        ]
        found += [(None, pod) for pod in self.others if pod.broken]
        return [(stage, pod) for stage, pod in found if not (stage and stage.name == NOTIFY)] or found


def described(stage: Stage | None, pod: Pod | None, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the readable name of a pod, or of a stage if it has none.

    Args:
        stage: The stage, or None if the pod belongs to none.
        pod: The pod, or None.
        rows: The rows of the loop, for the member and the fold. Empty if the loop has shards.
    """
    if stage is None:
        return f"Kubeflow's own {pod.role if pod else 'pod'}"
    name = stage.name
    if stage.row is not None and stage.row < len(rows):
        name += f" {rows[stage.row]['id']}, fold {rows[stage.row]['fold']:g}"
    elif stage.row is not None:
        name += f" {stage.row + 1}"
    return name if pod is None or pod.role == "executor" else f"Kubeflow's own driver of {name}"
