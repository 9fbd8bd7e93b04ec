"""Reads a run from Kubeflow's tasks, which newer servers keep themselves instead of in ML Metadata.

The form is that of `PipelineTask` and `Artifact` in Kubeflow's branch `mlmd-removal` (backend/api/v2beta1/run.proto and
artifact.proto at 7857ac3, the work of its pull request 13986). No such server has been seen. A task does not say what
it waits for.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from audiotagging.runs.run_stages import STAGES, Pod, Stage, Workflow

Task = Mapping[str, Any]
LOGS = "executor-logs"  # the output that is a log; its URI is complete, with the number of the attempt
STATES = {"RUNNING": "running", "SUCCEEDED": "done", "CACHED": "cached", "SKIPPED": "omitted", "FAILED": "failed"}
PHASES = {"running": "Running", "done": "Succeeded", "failed": "Failed"}


def parse_tasks(tasks: Sequence[Task], *, namespace: str) -> Workflow:
    """Return the stages of a run from all of its tasks.

    Args:
        tasks: The tasks, as `GET /apis/v2beta1/runs/RUN/tasks` has them.
        namespace: The namespace of their pods, which they do not name.
    """
    by_id = {task["task_id"]: task for task in tasks}
    stages = [task for task in tasks if task.get("type") == "RUNTIME" and task["name"] in STAGES]
    stages.sort(key=lambda task: task.get("create_time") or "9")
    return Workflow(namespace=namespace, stages=tuple(_stage(task, _row(task, by_id)) for task in stages))


def _row(task: Task | None, by_id: Mapping[str, Task]) -> int | None:
    """Return the index of the loop's row that a task is in: that of itself, or of the innermost task around it."""
    while task is not None:
        index = (task.get("type_attributes") or {}).get("iteration_index")
        if index is not None:
            return int(index)
        task = by_id.get(task.get("parent_task_id") or "")
    return None


def _stage(task: Task, row: int | None) -> Stage:
    inputs, outputs = (_artifacts(task.get(side) or {}) for side in ("inputs", "outputs"))
    logs = [artifact["uri"] for artifact in outputs.pop(LOGS, {"artifacts": []})["artifacts"]]
    state = STATES.get(task.get("state", ""), "preparing")
    pods = _pods(task, "EXECUTOR", state, logs[-1] if logs else None)
    return Stage(
        name=task["name"],
        row=row,
        state="starting" if state == "running" and not pods else state,
        reason="",
        started=_time(task.get("create_time")),
        finished=_time(task.get("end_time")),
        pods=pods,
        drivers=_pods(task, "DRIVER", "done" if pods else state, None),
        memory="",
        hours=None,
        executor_input={"inputs": {"artifacts": inputs}, "outputs": {"artifacts": outputs}},
    )


def _artifacts(side: Mapping[str, Any]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return the artifacts of one side of a task as in Kubeflow's ExecutorInput, those under one name together."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for entry in side.get("artifacts") or []:
        of_name = found.setdefault(entry["artifact_key"], {"artifacts": []})["artifacts"]
        of_name += [
            {"uri": artifact["uri"], "metadata": artifact.get("metadata") or {}}
            for artifact in entry.get("artifacts") or []
            if artifact.get("uri")
        ]
    return found


def _pods(task: Task, kind: str, state: str, log: str | None) -> tuple[Pod, ...]:
    """Return the attempts of a task's program or driver. All before the last one failed."""
    found = [pod for pod in task.get("pods") or [] if pod.get("type") == kind]
    message = (task.get("status_metadata") or {}).get("message", "")
    return tuple(
        Pod(
            name=pod["name"],
            role=kind.lower(),
            number=number,
            retry=number,
            phase=PHASES.get(state, "Succeeded") if pod is found[-1] else "Failed",
            message=message if pod is found[-1] else "",
            node="",
            started=_time(task.get("create_time")),
            finished=_time(task.get("end_time")) if pod is found[-1] else None,
            log=log if pod is found[-1] else None,
        )
        for number, pod in enumerate(found)
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
