"""What a person sees while KFP's local runner works: a line a stage, and the stages' own messages.

All the rest goes to a log file, and these too.
"""

import contextlib
import re
import threading
import time
from pathlib import Path
from typing import TextIO

COLOUR = re.compile(r"\x1b\[\d+m")
STARTED = re.compile(r"Executing task '(.+)'")
FINISHED = re.compile(r"Task '(.+)' finished with status (SUCCESS|FAILURE)")
CACHED = re.compile(r"Task (\S+) cache hit")
MESSAGE = re.compile(r"\[KFP Executor \S+ \S+ (?:INFO|WARNING|ERROR)\]: (.*)")
KFP_MESSAGE = re.compile(
    r"Looking for component |Loading KFP component |Got executor_input:|Wrote executor output file|--"
)
ERROR = re.compile(r"((?:\w+\.)*\w*(?:Error|Exception|Interrupt))(?:: (.*))?$")


class Console:
    """Stands in for `sys.stdout` while a pipeline runs; tells parallel stages apart by the thread that prints.

    Attributes:
        failure: The stage that failed, the exception's type and its message, once one has.
    """

    def __init__(self, terminal: TextIO, log: Path) -> None:
        self.terminal = terminal
        self.log = log.open("a", buffering=1)
        self.failure: tuple[str, str, str] | None = None
        self._thread = threading.local()

    def write(self, text: str) -> int:
        """Take a piece of output; act on every whole line."""
        *lines, rest = (getattr(self._thread, "rest", "") + text).split("\n")
        self._thread.rest = rest
        for line in lines:
            self._line(COLOUR.sub("", line).rstrip())
        return len(text)

    def flush(self) -> None:
        """Do what a file does; every line is already out."""

    def isatty(self) -> bool:
        """Return False: no bars, no colours."""
        return False

    def _line(self, line: str) -> None:
        self.log.write(line + "\n")
        thread = self._thread
        if found := STARTED.search(line):
            thread.stage, thread.start, thread.error = found[1], time.monotonic(), ("", "")
            self._show(f"{found[1]} ...")
        elif found := FINISHED.search(line):
            seconds = time.monotonic() - thread.start
            if found[2] == "FAILURE":
                self.failure = self.failure or (found[1], *thread.error)
            self._show(f"{found[1]} {'done' if found[2] == 'SUCCESS' else 'failed'} after {seconds:.0f} s")
        elif found := CACHED.search(line):
            self._show(f"{found[1]} unchanged, taken from the cache")
        elif found := MESSAGE.search(line):
            if not KFP_MESSAGE.match(found[1]):
                self._show(f"  {found[1]}")
        elif found := ERROR.match(line.strip()):
            thread.error = (found[1], found[2] or "")

    def _show(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody reads it any more; the log still has it
            self.terminal.write(line + "\n")
            self.terminal.flush()
