"""Reports the progress of the trainings of a run, from their logs."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from audiotagging.base.progress import fraction
from audiotagging.runs.pod_log import logged_message
from audiotagging.runs.run_stages import Stage, Workflow
from audiotagging.training.supervisor import ENDED
from commands.cluster.client import Client
from commands.cluster.logs import read_log

EVERY = timedelta(minutes=2)  # between two reads of the logs


class Trainings:
    """The progress of the trainings of a run that has been reported so far."""

    def __init__(self, client: Client, run_id: str) -> None:
        self.client = client
        self.run_id = run_id
        self._next: datetime | None = None
        self._said: dict[str, str] = {}
        self._restarts: Counter[str] = Counter()  # by pod

    def changes(self, workflow: Workflow, now: datetime) -> Iterator[tuple[Stage, str]]:
        """Yield what trainings tell, at most every two minutes: epoch, loss and time left, and that they restart."""
        if self._next and now < self._next:
            return
        for stage in workflow.stages:
            if stage.name == "train" and stage.state == "running":
                self._next = now + EVERY
                pod = stage.pods[-1]
                log = read_log(self.client, self.run_id, workflow, stage, pod)
                told = restarts(log)
                yield from ((stage, text) for text in told[self._restarts[pod.name] :])
                self._restarts[pod.name] = max(self._restarts[pod.name], len(told))
                text = progress(log)
                if text and self._said.get(pod.name) != text:
                    self._said[pod.name] = text
                    yield stage, text


def restarts(log: list[str]) -> list[str]:
    """Return what the log of a training says of each time that its process died and was started again."""
    return [message for line in log if (message := logged_message(line) or "").startswith(ENDED)]


def progress(log: list[str]) -> str:
    """Return the last line of progress in the log of a training, or "" if there is none."""
    messages = [message for line in log if (message := logged_message(line))]
    return next((message for message in reversed(messages) if fraction(message) is not None), "")
