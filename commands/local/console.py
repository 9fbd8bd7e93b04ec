"""What a person sees while the pipeline runs here: a line when a stage starts or ends, and the stages' own messages.

All the rest goes to a log file, and these too.
"""

import contextlib
import re
import threading
import time
import traceback
from pathlib import Path
from typing import TextIO

from commands.kfp_internals import logged_message

COLOUR = re.compile(r"\x1b\[\d+m")
TRACEBACK = "Traceback (most recent call last):"


class _Thread(threading.local):
    """What is known in one thread.

    Attributes:
        rest: The beginning of a line that has not been printed to its end.
        start: When its stage started, in seconds.
        in_traceback: Whether the last lines were the beginning of a traceback.
        exception: Type and message of the exception in the stage's last traceback.
    """

    rest = ""
    start = 0.0
    in_traceback = False
    exception = ("", "")


class Console:
    """Stands in for `sys.stdout` while a pipeline runs; tells parallel stages apart by the thread that prints.

    Attributes:
        failure: The stage that failed first, the exception's type and its message, once one has.
    """

    def __init__(self, terminal: TextIO, log: Path) -> None:
        self.terminal = terminal
        self.log = log.open("a", buffering=1)
        self.failure: tuple[str, str, str] | None = None
        self._thread = _Thread()

    def write(self, text: str) -> int:
        """Take a piece of output; act on every whole line."""
        *lines, rest = (self._thread.rest + text).split("\n")
        self._thread.rest = rest
        for line in lines:
            self._line(COLOUR.sub("", line).rstrip())
        return len(text)

    def flush(self) -> None:
        """Do what a file does; every line is already out."""

    def isatty(self) -> bool:
        """Return False: no bars, no colours."""
        return False

    def started(self, stage: str) -> None:
        """Say that a stage starts."""
        self._thread.start, self._thread.in_traceback, self._thread.exception = time.monotonic(), False, ("", "")
        self._say(f"{stage} ...")

    def ended(self, stage: str, *, succeeded: bool, error: Exception | None = None) -> None:
        """Say how a stage has ended.

        Args:
            stage: The stage.
            succeeded: Whether it did its work.
            error: What kept the runner from running it. Without one, the stage's last traceback says what went wrong.
        """
        if error:
            self.write("".join(traceback.format_exception(error)))
        if not succeeded:
            self.failure = self.failure or (stage, *self._thread.exception)
        self._say(f"{stage} {'done' if succeeded else 'failed'} after {time.monotonic() - self._thread.start:.0f} s")

    def cached(self, stage: str) -> None:
        """Say that a stage need not run."""
        self._say(f"{stage} unchanged, taken from the cache")

    def _line(self, line: str) -> None:
        self.log.write(line + "\n")
        if (message := logged_message(line)) is not None:
            self._show(f"  {message}")
        elif line == TRACEBACK:
            self._thread.in_traceback = True
        elif self._thread.in_traceback and not line.startswith(" "):
            kind, _, message = line.partition(": ")
            self._thread.in_traceback, self._thread.exception = False, (kind, message)

    def _say(self, line: str) -> None:
        self.log.write(line + "\n")
        self._show(line)

    def _show(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody reads it any more; the log still has it
            self.terminal.write(line + "\n")
            self.terminal.flush()
