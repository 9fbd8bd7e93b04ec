"""Finds out why stages failed, and whether a retry can help."""

from dataclasses import dataclass

from audiotagging.runs.run_stages import Pod, Stage, Workflow
from audiotagging.runs.stage_failure import Reason, explain
from commands.cluster.client import Client
from commands.cluster.logs import read_log


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
    """Return what failed in a run: the stages in the order in which they started, then pods of no stage."""
    return [
        Failure(stage, pod, explain(stage, pod, read_log(client, run_id, workflow, stage, pod) if pod else []))
        for stage, pod in workflow.failed
    ]
