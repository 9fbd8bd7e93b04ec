"""Follows a run on a cluster until it ends: prints every change, and finally its scores or why it failed."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import urllib3
from kfp_server_api import ApiException, V2beta1Run

from audiotagging.wording import duration
from commands.cluster.answers import readable
from commands.cluster.client import Client
from commands.cluster.failures import Failure, find_failures
from commands.cluster.logs import read_log
from commands.cluster.runs import ENDED, read_scores, state, took
from commands.cluster.trainings import Trainings
from commands.cluster.waiting import waits_for
from commands.cluster.workflow import Stage, Workflow, read_workflow
from commands.kfp_internals import logged_message

T = TypeVar("T")
POLL = 5.0  # seconds between two requests
PATIENCE = 300.0  # seconds without an answer after which following fails
RETRY_AFTER = 60.0  # seconds before a retry
LOG_LINES = 30


class Progress:
    """The progress of the stages of a run that has been printed so far.

    Attributes:
        rows: The rows of the loop.
    """

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self._said: dict[str, str] = {}
        self._idle: dict[str, datetime] = {}  # when a pod was last seen before it ran
        self._waiting: Counter[str] = Counter()  # how many stages were printed to wait for something
        self._last = datetime.min.replace(tzinfo=UTC)

    def label(self, stage: Stage) -> str:
        """Return the readable name of a stage. In a loop it includes the shard, or the member and the fold."""
        if stage.row is None:
            return stage.name
        if stage.row >= len(self.rows):
            return f"{stage.name} {stage.row + 1}"
        row = self.rows[stage.row]
        return f"{stage.name} {row['id']}, fold {row['fold']:g}"

    def changes(self, stages: Iterable[Stage], now: datetime) -> list[str]:
        """Return a line with the time for every stage that changed, and for everything that more stages wait for."""
        stages = list(stages)
        last = [stage.pods[-1] for stage in stages if stage.pods]
        self._idle |= {pod.name: now for pod in last if pod.phase == "Pending"}
        events = []
        for stage in stages:
            label, (when, text) = self.label(stage), self._describe(stage)
            if text and self._said.get(label) != text:
                self._said[label] = text
                events.append((when or now, f"{label} {text}"))
        events += [(now, line) for line in self._queues(stages)]
        return [self.line(when, text) for when, text in sorted(events, key=lambda event: event[0])]

    def line(self, when: datetime, text: str) -> str:
        """Return a line with its time, but never earlier than the previous line: Argo notices some changes late."""
        self._last = max(self._last, when)
        return f"{self._last.astimezone():%H:%M:%S} {text}"

    def _describe(self, stage: Stage) -> tuple[datetime | None, str]:
        """Return the time and the description of a stage's state. The description is empty if it is not of interest."""
        if stage.state == "cached":
            return stage.finished, "unchanged, taken from the cache"
        if stage.state not in {"running", "done", "failed", "stopped"}:
            return None, ""
        if not stage.pods:
            return stage.finished, stage.state
        pod = stage.pods[-1]
        since = max(filter(None, (self._idle.get(pod.name), pod.started)), default=None)
        if stage.state == "running":
            return since, f"running, try {len(stage.pods)}" if len(stage.pods) > 1 else "running"
        if since and pod.finished and pod.finished > since:
            return pod.finished, f"{stage.state} after {duration((pod.finished - since).total_seconds())}"
        return pod.finished, stage.state

    def _queues(self, stages: list[Stage]) -> Iterator[str]:
        """Yield a line for everything that more stages wait for than has been printed."""
        queues = defaultdict(list)
        for stage in stages:
            if stage.state == "waiting":
                what, detail = waits_for(stage.reason)
                queues[what].append((self.label(stage), detail))
        for what, queue in queues.items():
            if len(queue) > self._waiting[what]:
                self._waiting[what] = len(queue)
                who = f"{queue[0][0]} waits" if len(queue) == 1 else f"{len(queue)} stages wait"
                detail = max(detail for _, detail in queue)
                yield f"{who} for {what}{': ' if detail else ''}{detail}"
        for what in self._waiting.keys() - queues:
            del self._waiting[what]


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
        if number == tries or any(failure.users for failure in failures):
            break
        print(f"\ntry {number + 1} of {tries} in {RETRY_AFTER:g} s", flush=True)
        time.sleep(RETRY_AFTER)
        client.runs.run_service_retry_run(run_id)
    if ended == "succeeded":
        print(_scores(client, run_id, workflow))
    return bool(ended == "succeeded")


def _rows(run: V2beta1Run) -> list[dict[str, Any]]:
    """Return the rows of the loop, from the parameters of a run."""
    with readable(f"the parameters of run {run.run_id}"):
        rows = ((run.runtime_config and run.runtime_config.parameters) or {}).get("rows", [])
        return [{"id": str(row["id"]), "fold": float(row["fold"])} for row in rows]


def _watch(client: Client, run_id: str, progress: Progress) -> tuple[V2beta1Run, Workflow]:
    """Print the progress of a run until it ends."""
    trainings = Trainings(client, run_id)
    while True:
        run, workflow = _patiently(lambda: (client.get_run(run_id), read_workflow(client, run_id)))
        now = datetime.now(UTC)
        for line in progress.changes(workflow.stages, now):
            print(line, flush=True)
        if run.state in ENDED:
            return run, workflow
        for stage, text in trainings.changes(workflow, now):
            print(progress.line(now, f"{progress.label(stage)}: {text}"), flush=True)
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


def _scores(client: Client, run_id: str, workflow: Workflow) -> str:
    if scores := read_scores(client, run_id, workflow):
        return "lwlrap of the ensemble: " + ", ".join(f"{name} {score:.4f}" for name, score in scores.items())
    if any(stage.name == "find" for stage in workflow.stages):
        return _tagged(client, run_id, workflow)
    if any(stage.name == "evaluate" and stage.state == "cached" for stage in workflow.stages):
        return "the scores are those of an earlier run, because nothing has changed"
    return f"this address provides no scores; see {client.page('runs', run_id)}"


def _tagged(client: Client, run_id: str, workflow: Workflow) -> str:
    """Return what the last stage of the pipeline `tagging` said: what is in the batch, or that nothing is new."""
    stages = {stage.name: stage for stage in workflow.stages if stage.name in ("find", "collect") and stage.pods}
    last = stages.get("collect", stages["find"])
    log = read_log(client, run_id, workflow, last, last.pods[-1])
    said = [message for line in log if (message := logged_message(line))]
    return said[-1] if said else f"this address provides no logs; see {client.page('runs', run_id)}"


def _report(run: V2beta1Run, workflow: Workflow, failures: list[Failure], progress: Progress) -> None:
    """Print why a run failed: for every failed stage one line with the reason, and the end of its log."""
    for line in (*([run.error.message] if run.error else []), *workflow.messages):
        print(line)
    for failure in failures:
        pod = failure.pod
        print(f"\n{progress.label(failure.stage)}: {failure.reason}")
        if pod and not failure.users and not failure.log:
            print(f"  no server has its log; while the pod exists: kubectl -n {workflow.namespace} logs {pod.name}")
        for line in failure.log[-LOG_LINES:]:
            print(f"  {line}")
