"""Reports the progress of the trainings of a run, from their logs."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from commands.cluster.answers import readable
from commands.cluster.client import Client
from commands.cluster.logs import read_log
from commands.cluster.runs import duration
from commands.cluster.workflow import Stage, Workflow
from commands.kfp_internals import logged

EVERY = timedelta(minutes=2)  # between two reads of the logs
EPOCH = re.compile(r"epoch (\d+), (.*)")


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
                text = progress(read_log(self.client, self.run_id, workflow, stage, pod), epochs=_epochs(stage))
                if text and self._said.get(pod.name) != text:
                    self._said[pod.name] = text
                    yield stage, text


def _epochs(stage: Stage) -> int:
    with readable("the input of the stage train"):
        row = stage.executor_input["inputs"]["parameterValues"]["row"]
        return int(row["epochs"] * row["cycles"])


def progress(log: list[str], *, epochs: int) -> str:
    """Return the progress of a training, or "" before its first epoch has ended.

    Args:
        log: Lines of its log.
        epochs: Total number of epochs.
    """
    ends = []
    for line in log:
        message = logged(line)
        if message and (found := EPOCH.search(message[1])):
            ends.append((message[0], int(found[1]), found[2].removesuffix(", lwlrap nan")))
    if not ends:
        return ""
    (first, begun, _), (last, epoch, figures) = ends[0], ends[-1]
    text = f"epoch {epoch} of {epochs}, {figures}"
    if epoch > begun and epoch < epochs:
        text += f", about {duration((last - first) / (epoch - begun) * (epochs - epoch))} left"
    return text
