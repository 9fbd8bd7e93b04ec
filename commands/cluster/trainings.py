"""Reports the progress of the trainings of a run, from their logs."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from audiotagging.progress import fraction
from commands.cluster.client import Client
from commands.cluster.logs import read_log
from commands.cluster.workflow import Stage, Workflow
from commands.kfp_internals import logged_message

EVERY = timedelta(minutes=2)  # between two reads of the logs


class Trainings:
    """The progress of the trainings of a run that has been reported so far."""

    def __init__(self, client: Client, run_id: str) -> None:
        self.client = client
        self.run_id = run_id
        self._next: datetime | None = None
        self._said: dict[str, str] = {}

    def changes(self, workflow: Workflow, now: datetime) -> Iterator[tuple[Stage, str]]:
        """Yield the trainings that have progressed, at most every two minutes, with epoch, loss and remaining time."""
        if self._next and now < self._next:
            return
        for stage in workflow.stages:
            if stage.name == "train" and stage.state == "running":
                self._next = now + EVERY
                pod = stage.pods[-1]
                text = progress(read_log(self.client, self.run_id, workflow, stage, pod))
                if text and self._said.get(pod.name) != text:
                    self._said[pod.name] = text
                    yield stage, text


def progress(log: list[str]) -> str:
    """Return the last line of progress in the log of a training, or "" if there is none."""
    messages = [message for line in log if (message := logged_message(line))]
    return next((message for message in reversed(messages) if fraction(message) is not None), "")
