"""Bars at the bottom of a terminal, one per running task, below the lines that stay."""

import contextlib
import shutil
import threading
from typing import TextIO

WIDTH = 10  # characters of a bar
ERASE = "\x1b[{}F\x1b[J"  # move to the beginning of the line so many lines up, and clear everything from there


class Bars:
    """Writes lines to a stream and, if that is a terminal, draws the bars below them.

    Attributes:
        shown: Whether there are bars.
    """

    def __init__(self, terminal: TextIO) -> None:
        self.shown = terminal.isatty()
        self._terminal = terminal
        self._texts: dict[str, str] = {}
        self._drawn = 0
        self._lock = threading.Lock()

    def write(self, line: str) -> None:
        """Write a line that stays."""
        self._draw(line + "\n")

    def set(self, name: str, text: str, share: float) -> None:
        """Draw a bar, or draw it again.

        Args:
            name: Name of the task.
            text: The text beside the bar. What does not fit is cut off.
            share: The part of the work that is done, from 0 to 1.
        """
        full = round(WIDTH * share)
        self._texts[name] = f"{'█' * full}{'░' * (WIDTH - full)} {text}"
        self._draw()

    def remove(self, name: str) -> None:
        """Remove a bar if there is one."""
        if self._texts.pop(name, None) is not None:
            self._draw()

    def _draw(self, line: str = "") -> None:
        with self._lock, contextlib.suppress(BrokenPipeError):  # nobody reads the output any more, but the logs get it
            columns, rows = shutil.get_terminal_size()
            bars = [text[: columns - 1] + "\n" for text in list(self._texts.values())[: rows - 1]]
            erase = ERASE.format(self._drawn) if self._drawn else ""
            self._terminal.write("".join([erase, line, *bars]))
            self._terminal.flush()
            self._drawn = len(bars)
