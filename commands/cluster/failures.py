"""Finds out why stages failed, and whether a retry can help."""

from dataclasses import dataclass

from audiotagging.results.argo import Pod, Stage, Workflow
from audiotagging.results.stage_failure import Reason, explain
from commands.cluster.client import Client
from commands.cluster.logs import read_log

NOTIFY = "notify"


@dataclass(frozen=True)
class Failure:
    """A stage that has failed after all its retries, or a pod of no stage.

    Attributes:
        stage: The stage. None if the pod belongs to none.
        pod: The last pod that failed. None if the stage had no pod.
        reason: Why it failed.
    """

    stage: Stage | None
    pod: Pod | None
    reason: Reason


def find_failures(client: Client, run_id: str, workflow: Workflow) -> list[Failure]:
    """Return what failed in a run: the stages in the order in which they started, then pods of no stage.

    The stage `notify` fails after it has told that others did (`components.notify`), which is no failure of its own.
    """
    pods: list[tuple[Stage | None, Pod | None]] = [
        (stage, next((pod for pod in reversed((*stage.drivers, *stage.pods)) if pod.broken), None))
        for stage in workflow.stages
        if stage.state == "failed"
    ]
    pods += [(None, pod) for pod in workflow.others if pod.broken]
    if any(stage is None or stage.name != NOTIFY for stage, _ in pods):
        pods = [(stage, pod) for stage, pod in pods if stage is None or stage.name != NOTIFY]
    return [_failure(client, run_id, workflow, stage, pod) for stage, pod in pods]


def _failure(client: Client, run_id: str, workflow: Workflow, stage: Stage | None, pod: Pod | None) -> Failure:
    if pod is None:
        return Failure(stage, None, Reason("failed without a pod", users=False, log=[]))
    return Failure(stage, pod, explain(stage, pod, read_log(client, run_id, workflow, stage, pod)))
