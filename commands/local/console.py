"""Shows the progress of a local run: one line when a stage starts or ends, and the messages of the stages.

These lines and all other output also go to a log file.
"""

import contextlib
import re
import shutil
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import TextIO

from audiotagging.errors import without_secrets
from audiotagging.gate import LAST_LINE, explain
from commands.kfp_internals import logged_message

COLOUR = re.compile(r"\x1b\[\d+m")
KILLED = ("out of memory", "it ended without a message, most likely because memory ran out")


def _without_message() -> tuple[str, str]:
    """Say why a stage ended without a message: it was killed, or kfp could not write its program to a file."""
    folder = tempfile.gettempdir()
    if shutil.disk_usage(folder).free < 2**20:
        return "error", f"{folder}: expected space for temporary files, found less than 1 MiB; free some space"
    return KILLED


class _Thread(threading.local):
    """The state of one thread.

    Attributes:
        rest: The beginning of an incomplete line.
        start: When its stage started, in seconds.
        failure: What the gate printed when the stage failed: a key of `gate.CODES`, and a message.
    """

    rest = ""
    start = 0.0
    failure = KILLED


class Console:
    """Replaces `sys.stdout` while a pipeline runs. It tells parallel stages apart by the thread that prints.

    Attributes:
        failure: The first stage that failed, with a key of `gate.CODES` and a message. None if no stage failed.
    """

    def __init__(self, terminal: TextIO, log: Path) -> None:
        self.terminal = terminal
        self.log = log.open("a", encoding="utf-8", buffering=1)
        self.failure: tuple[str, str, str] | None = None
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
        """Return False, to avoid progress bars and colours."""
        return False

    def started(self, stage: str) -> None:
        """Show that a stage starts."""
        self._thread.start, self._thread.failure = time.monotonic(), KILLED
        self._say(f"{stage} ...")

    def ended(self, stage: str, *, succeeded: bool, error: Exception | None = None) -> None:
        """Show how a stage ended.

        Args:
            stage: The stage.
            succeeded: Whether it succeeded.
            error: The exception that prevented the runner from running it. If there is none, the last line that the
                gate printed in the stage says what went wrong.
        """
        if error:
            self.write(without_secrets("".join(traceback.format_exception(error))))
            self._thread.failure = explain(error)
        if not succeeded:
            failure = _without_message() if self._thread.failure == KILLED else self._thread.failure
            self.failure = self.failure or (stage, *failure)
        self._say(f"{stage} {'done' if succeeded else 'failed'} after {time.monotonic() - self._thread.start:.0f} s")

    def cached(self, stage: str) -> None:
        """Show that the output of a stage was taken from the cache."""
        self._say(f"{stage} unchanged, taken from the cache")

    def damaged(self, stage: str) -> None:
        """Show that a stage runs again, because its output in the cache is damaged."""
        self._say(f"{stage}: its output in the cache is damaged, so it runs again")

    def _line(self, line: str) -> None:
        self.log.write(line + "\n")
        if (message := logged_message(line)) is not None:
            self._show(f"  {message}")
        elif found := LAST_LINE.fullmatch(line):
            self._thread.failure = (found[1], found[2])

    def _say(self, line: str) -> None:
        self.log.write(line + "\n")
        self._show(line)

    def _show(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody reads the output any more, but the log still gets it
            self.terminal.write(line + "\n")
            self.terminal.flush()
