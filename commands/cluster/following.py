"""Follows a run on a cluster until it ends: prints every change, and finally its scores or why it failed."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import urllib3
from kfp_server_api import ApiException, V2beta1Run

from audiotagging.runs.run_stages import Workflow, described
from commands import TAGGING
from commands.cluster.answers import readable
from commands.cluster.client import Client
from commands.cluster.events import Standstills
from commands.cluster.failures import Failure, find_failures
from commands.cluster.run_progress import Progress
from commands.cluster.runs import ENDED, pipeline_of, read_scores, read_tagged, state, took
from commands.cluster.trainings import Trainings
from commands.cluster.workflow import read_workflow

T = TypeVar("T")
POLL = 5.0  # seconds between two requests
PATIENCE = 300.0  # seconds without an answer after which following fails
RETRY_AFTER = 60.0  # seconds before a retry
LOG_LINES = 30


def follow(client: Client, run_id: str, *, tries: int = 1) -> bool:
    """Print the progress of a run until it ends, and then its scores, or what failed with its log.

    Args:
        client: The connection.
        run_id: Id of the run.
        tries: Number of attempts. A failed run is retried unless the user has to fix something.

    Returns:
        Whether the run succeeded.
    """
    run = _patiently(lambda: client.get_run(run_id))
    progress = Progress(_rows(run))
    for number in range(1, tries + 1):
        run, workflow = _watch(client, run_id, progress)
        ended = state(run, workflow)
        print(f"run {ended} after {took(run)}", flush=True)
        if ended != "failed":
            break
        failures = find_failures(client, run_id, workflow)
        _report(run, workflow, failures, progress)
        if number == tries or any(failure.reason.users for failure in failures):
            break
        print(f"\ntry {number + 1} of {tries} in {RETRY_AFTER:g} s", flush=True)
        time.sleep(RETRY_AFTER)
        client.runs.run_service_retry_run(run_id)
    if ended == "succeeded":
        print(_outcome(client, run, workflow))
    return bool(ended == "succeeded")


def _rows(run: V2beta1Run) -> list[dict[str, Any]]:
    """Return the rows of the loop, from the parameters of a run."""
    with readable(f"the parameters of run {run.run_id}"):
        rows = ((run.runtime_config and run.runtime_config.parameters) or {}).get("rows", [])
        return [{"id": str(row["id"]), "fold": float(row["fold"])} for row in rows]


def _watch(client: Client, run_id: str, progress: Progress) -> tuple[V2beta1Run, Workflow]:
    """Print the progress of a run until it ends."""
    trainings, standstills = Trainings(client, run_id), Standstills(client)
    while True:
        run, workflow = _patiently(lambda: (client.get_run(run_id), read_workflow(client, run_id)))
        now = datetime.now(UTC)
        reasons = {} if run.state in ENDED else standstills.reasons(workflow, now)
        for line in progress.changes(workflow, now, reasons):
            print(line, flush=True)
        if run.state in ENDED:
            return run, workflow
        for stage, text in trainings.changes(workflow, now):
            print(progress.line(now, f"{progress.label(stage)}: {text}"), flush=True)
        for line in progress.unchanged(workflow, now):
            print(line, flush=True)
        time.sleep(POLL)


def _patiently(ask: Callable[[], T]) -> T:
    """Return an answer of the server, which may be unavailable for a while."""
    last = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except (ApiException, urllib3.exceptions.HTTPError):
            if time.monotonic() > last:
                raise
            time.sleep(POLL)


def _outcome(client: Client, run: V2beta1Run, workflow: Workflow) -> str:
    """Return the scores of a run, or what it tagged."""
    page = client.page("runs", run.run_id)
    if pipeline_of(run) == TAGGING:
        with readable(f"the parameters of run {run.run_id}"):
            where = run.runtime_config.parameters["out"]
        said = read_tagged(client, run.run_id, workflow)
        return said or f"the tags are in {where}; this address does not say how many, see {page}"
    if workflow.idle:
        return "nothing new since the last run that ended well"
    if scores := read_scores(client, run.run_id, workflow):
        return "lwlrap of the ensemble: " + ", ".join(f"{name} {score:.4f}" for name, score in scores.items())
    if any(stage.name == "evaluate" and stage.state == "cached" for stage in workflow.stages):
        return "the scores are those of an earlier run, because nothing has changed"
    return f"this address provides no scores; see {page}"


def _report(run: V2beta1Run, workflow: Workflow, failures: list[Failure], progress: Progress) -> None:
    """Print why a run failed: for every failed stage one line with the reason, and the end of its log."""
    for line in filter(None, (run.error and run.error.message, workflow.message)):
        print(line)
    for failure in failures:
        pod, reason = failure.pod, failure.reason
        print(f"\n{described(failure.stage, pod, progress.rows)}: {reason.text}")
        if pod and not reason.users and not reason.log:
            print(f"  no server has its log; while the pod exists: kubectl -n {workflow.namespace} logs {pod.name}")
        for line in reason.log[-LOG_LINES:]:
            print(f"  {line}")
