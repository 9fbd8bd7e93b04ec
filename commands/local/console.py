"""Shows the progress of a local run: when stages start and end, what they say, and how far they are.

On a terminal there is a bar for every running stage; elsewhere an occasional line. What is said, without the progress,
goes to log.txt with the time. All output of a stage goes to a file of its own.
"""

import re
import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from audiotagging.artifacts.model_folder import model_name
from audiotagging.base.errors import without_secrets
from audiotagging.base.full_disk import LITTLE
from audiotagging.base.gate import LAST_LINE, explain
from audiotagging.base.progress import Pace, fraction
from audiotagging.base.wording import duration
from audiotagging.runs.pod_log import logged_message
from commands.kfp_internals import Task
from commands.local.bars import Bars

LOG, LOGS = "log.txt", "logs"  # the file and the folder in OUT
COLOUR = re.compile(r"\x1b\[\d+m")
KILLED = ("out of memory", "it ended without a message, most likely because memory ran out")


def _without_message() -> tuple[str, str]:
    """Say why a stage ended without a message: it was killed, or kfp could not write its program to a file."""
    folder = tempfile.gettempdir()
    if shutil.disk_usage(folder).free < LITTLE:
        return "error", f"{folder}: expected space for temporary files, found less than 1 MiB; free some space"
    return KILLED


class _Thread(threading.local):
    """The state of one thread.

    Attributes:
        task: The task that runs in it.
        log: The file for all output of this task.
        rest: The beginning of an incomplete line.
        start: When the task started, in seconds.
        failure: What the gate printed when the task failed: a key of `gate.CODES`, and a message.
        pace: When the next line of progress goes to the log of the task.
    """

    def __init__(self) -> None:
        self.task: Task | None = None
        self.log: TextIO | None = None
        self.rest = ""
        self.start = 0.0
        self.failure = KILLED
        self.pace = Pace()


class Console:
    """Replaces `sys.stdout` while a pipeline runs. It tells parallel stages apart by the thread that prints.

    Attributes:
        failure: The first stage that failed: its name, a key of `gate.CODES`, a message and its log. None if none did.
    """

    def __init__(
        self,
        terminal: TextIO,
        folder: Path,
        *,
        rows: Sequence[Mapping[str, Any]],
        tasks: int | None,
        interrupted: threading.Event,
    ) -> None:
        """Open the logs.

        Args:
            terminal: Where to show the progress.
            folder: The folder for log.txt and the logs of the stages.
            rows: The rows of the loop.
            tasks: How many tasks there are. None if that is not known from the start.
            interrupted: An event. Once it is set, a stage that ends without success was interrupted.
        """
        (folder / LOGS).mkdir(exist_ok=True)
        self.failure: tuple[str, str, str, Path] | None = None
        self._bars = Bars(terminal)
        self._folder = folder
        self._log = (folder / LOG).open("a", encoding="utf-8", buffering=1)
        self._members = list(dict.fromkeys(row["id"] for row in rows))
        self._tasks, self._done = tasks, 0
        self._interrupted = interrupted
        self._lock = threading.RLock()
        self._thread = _Thread()

    def write(self, text: str) -> int:
        """Take a piece of output, and handle every complete line."""
        *lines, rest = (self._thread.rest + text).split("\n")
        self._thread.rest = rest
        for line in lines:
            self._line(COLOUR.sub("", line).rstrip())
        return len(text)

    def flush(self) -> None:
        """Do nothing, because every line is flushed when it is written."""

    def isatty(self) -> bool:
        """Return False, to avoid progress bars and colours of others."""
        return False

    def started(self, task: Task) -> None:
        """Show that a stage starts."""
        thread = self._thread
        thread.task, thread.start, thread.failure, thread.pace = task, time.monotonic(), KILLED, Pace()
        thread.log = self._log_of(task).open("a", encoding="utf-8", buffering=1)
        self._say(f"{self._name(task)} ...")

    def ended(self, task: Task, *, succeeded: bool, error: Exception | None = None) -> None:
        """Show how a stage ended.

        Args:
            task: The task.
            succeeded: Whether it succeeded.
            error: The exception that prevented the runner from running it. If there is none, the last line that the
                gate printed in the stage says what went wrong.
        """
        if error:
            self.write(without_secrets("".join(traceback.format_exception(error))))
            self._thread.failure = explain(error)
        self._bars.remove(self._name(task))
        took = duration(time.monotonic() - self._thread.start)
        if succeeded:
            self._complete(f"{self._name(task)} done after {took}")
        else:
            failure = _without_message() if self._thread.failure == KILLED else self._thread.failure
            self.failure = self.failure or (self._name(task), *failure, self._log_of(task))
            how = "interrupted" if self._interrupted.is_set() else "failed"
            self._say(f"{self._name(task)} {how} after {took}")
        if self._thread.log:
            self._thread.log.close()
        self._thread.task = self._thread.log = None

    def cached(self, task: Task) -> None:
        """Show that the output of a stage was taken from the cache."""
        self._complete(f"{self._name(task)} unchanged, taken from the cache")

    def damaged(self, task: Task) -> None:
        """Show that a stage runs again, because its output in the cache is damaged."""
        self._say(f"{self._name(task)}: its output in the cache is damaged, so it runs again")

    def _complete(self, text: str) -> None:
        with self._lock:
            self._done += 1
            self._say(f"{text}, {self._done} of {self._tasks} done" if self._tasks else text)

    def _name(self, task: Task) -> str:
        """Return the name of a stage, in a loop with its shard, or with its member and fold."""
        of_row = f" ({task.row['id']}){_fold(task)}" if task.row else ""
        return f"{task.stage} {self._part(task)}".rstrip() + of_row

    def _part(self, task: Task) -> str:
        """Return which part of the work of a stage a task does, or "" outside loops."""
        if task.row:
            return f"member {self._members.index(task.row['id']) + 1} of {len(self._members)}"
        return "" if task.shard is None else f"shard {task.shard + 1}"

    def _log_of(self, task: Task) -> Path:
        name = f"{task.stage}-{model_name(task.row['id'], int(task.row['fold']))}" if task.row else self._name(task)
        return self._folder / LOGS / f"{name.replace(' ', '-')}.txt"

    def _line(self, line: str) -> None:
        """Handle a line that kfp or the process of a stage printed."""
        message = logged_message(line)
        progress = None if message is None else fraction(message)
        if self._thread.log and (progress is None or self._thread.pace.due()):
            self._thread.log.write(line + "\n")
        if message is not None:
            task = self._thread.task
            label = f"{part}{_fold(task)}: " if task and (part := self._part(task)) else ""
            if progress is not None and task and self._bars.shown:
                self._bars.set(self._name(task), f"{label}{message}", progress)
            elif progress is not None:
                self._bars.write(f"  {label}{message}")
            else:
                self._say(f"  {label}{message}")
        elif found := LAST_LINE.fullmatch(line):
            self._thread.failure = (found[1], found[2])

    def _say(self, line: str) -> None:
        """Show a line, and write it to log.txt with the time."""
        with self._lock:
            self._log.write(f"{datetime.now():%H:%M:%S} {line}\n")
            self._bars.write(line)


def _fold(task: Task) -> str:
    fold = int(task.row["fold"]) if task.row else -1
    return f", fold {fold}" if fold >= 0 else ""
