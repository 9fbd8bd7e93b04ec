"""The progress of a run in lines for the terminal: what changed, what pods wait for, and that nothing changes."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from audiotagging.base.wording import duration, listed, pluralize
from audiotagging.runs.run_stages import Pod, Stage, Workflow, described
from commands.cluster.waiting import trouble, waits_for

IDLE = timedelta(seconds=60)  # without a pod, after which something is wrong
UNCHANGED = timedelta(minutes=5)  # without a line, after which one says that the run goes on
NAMED = 3  # stages in that line


class Progress:
    """The progress of a run that has been printed so far.

    Attributes:
        rows: The rows of the loop.
    """

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self._said: dict[str, str] = {}
        self._idle: dict[str, datetime] = {}  # when a pod was last seen before it ran
        self._waiting: Counter[str] = Counter()  # how many pods were printed to wait for something
        self._busy: datetime | None = None  # when the run last had a pod
        self._printed: datetime | None = None  # when there was a line last
        self._last = datetime.min.replace(tzinfo=UTC)

    def label(self, stage: Stage) -> str:
        """Return the readable name of a stage. In a loop it includes the shard, or the member and the fold."""
        return described(stage, None, self.rows)

    def changes(self, workflow: Workflow, now: datetime, reasons: Mapping[str, str]) -> list[str]:
        """Return a line with the time for everything that changed, or for a run in which nothing does.

        Args:
            workflow: The state of the run.
            now: The present time.
            reasons: What Kubernetes says of pods that stay in one state, by their names.
        """
        last = [stage.pods[-1] for stage in workflow.stages if stage.pods]
        self._idle |= {pod.name: now for pod in last if pod.phase == "Pending"}
        events = []
        failed = [stage for stage, _ in workflow.failed]
        for stage in workflow.stages:
            if stage.state == "failed" and stage not in failed:  # `notify`, which has told what failed
                continue
            label, (when, text) = self.label(stage), self._describe(stage)
            if text and self._is_new(label, text):
                events.append((when or now, f"{label} {text}"))
        events += [(now, line) for line in self._queues(workflow, reasons)]
        events += [(now, line) for line in self._troubles(workflow, reasons)]
        events += [(now, line) for line in self._standstill(workflow, now)]
        if events:
            self._printed = now
        return [self.line(when, text) for when, text in sorted(events, key=lambda event: event[0])]

    def line(self, when: datetime, text: str) -> str:
        """Return a line with its time, but never earlier than the previous line: Argo notices some changes late."""
        self._last = max(self._last, when)
        self._printed = max(self._printed or when, when)
        return f"{self._last.astimezone():%H:%M:%S} {text}"

    def unchanged(self, workflow: Workflow, now: datetime) -> Iterator[str]:
        """Yield a line about what is at work, if there has been no line for minutes."""
        self._printed = self._printed or now
        if now - self._printed < UNCHANGED:
            return
        at_work = [stage for stage in workflow.stages if stage.state in {"preparing", "starting", "running"}]
        names = [self.label(stage) for stage in at_work[:NAMED]]
        if len(at_work) > NAMED:
            names.append(f"{len(at_work) - NAMED} more")
        waiting = sum(stage.state == "waiting" for stage in workflow.stages)
        parts = [f"at work: {listed(names)}"] if names else ["nothing is at work"]
        parts += [f"{pluralize(waiting, 'stage')} waiting"] if waiting else []
        yield self.line(now, f"nothing has changed for {duration(UNCHANGED.total_seconds())}; {', '.join(parts)}")

    def _is_new(self, who: str, text: str) -> bool:
        new = self._said.get(who) != text
        self._said[who] = text
        return new

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

    def _queues(self, workflow: Workflow, reasons: Mapping[str, str]) -> Iterator[str]:
        """Yield a line for everything that more pods wait for than has been printed."""
        queues = defaultdict(list)
        for stage, pod in workflow.unfinished:
            if reason := _reason(stage, pod, reasons):
                what, detail = waits_for(reason)
                queues[what].append((described(stage, pod, self.rows), detail))
        for what, queue in queues.items():
            if len(queue) > self._waiting[what]:
                self._waiting[what] = len(queue)
                who = f"{queue[0][0]} waits" if len(queue) == 1 else f"{len(queue)} stages wait"
                detail = max(detail for _, detail in queue)
                yield f"{who} for {what}{': ' if detail else ''}{detail}"
        for what in self._waiting.keys() - queues:
            del self._waiting[what]

    def _troubles(self, workflow: Workflow, reasons: Mapping[str, str]) -> Iterator[str]:
        """Yield a line for every running pod with which something else is wrong than before."""
        for stage, pod in workflow.unfinished:
            if pod.phase == "Running" and pod.name in reasons and self._is_new(pod.name, reasons[pod.name]):
                yield f"{described(stage, pod, self.rows)}: {trouble(reasons[pod.name])}"

    def _standstill(self, workflow: Workflow, now: datetime) -> Iterator[str]:
        """Yield a line once the run has had no pod for long, although it has not ended."""
        # Before Argo ends a run with a failed stage, it waits for as long as before another try, also if none comes.
        patience = UNCHANGED if workflow.failed else IDLE
        if self._busy is None or any(workflow.unfinished):
            self._busy = now
        elif now - self._busy >= patience and self._is_new("", str(self._busy)):
            where = f"-n {workflow.namespace}" if workflow.namespace else "-A"
            yield (
                f"Kubeflow shows no stage of this run at work, for {duration(patience.total_seconds())} now; "
                f"`kubectl get pods {where}` shows whether Argo's workflow controller is running"
            )


def _reason(stage: Stage | None, pod: Pod, reasons: Mapping[str, str]) -> str:
    """Return what a pod waits for, in the words of Kubernetes or Argo. Empty if it does not wait, or not for long."""
    if pod.starting:
        return reasons.get(pod.name, "")
    return stage.reason if stage else pod.message if pod.phase == "Pending" else ""
