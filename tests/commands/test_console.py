"""What a run on this machine shows while it works, and which failure it keeps."""

import contextlib
import io
import os
import re
import shutil
import tempfile
import threading

import pytest

from commands.kfp_internals import Task
from commands.local.bars import Bars
from commands.local.console import KILLED, Console

OUTPUT = """\
[KFP Executor 2026-11-22 13:50:42,931 INFO]: Got executor_input:
{
    "inputs": {}
}
[KFP Executor 2026-11-22 13:50:43,000 INFO]: epoch 1 of 2
Traceback (most recent call last):
  File "x.py", line 1, in <module>
    int("\x1b[91mx\x1b[0m")
ValueError: invalid literal
error: train.csv: no column labels: fname
something: a line of another process
"""


class Terminal(io.StringIO):
    def isatty(self):
        return True


ROWS = [{"id": name, "fold": fold} for name in ("a", "b") for fold in (-1, 1)]
TRAIN = Task("train", ROWS[3])


def console_of(folder, terminal=None, *, interrupted=False):
    event = threading.Event()
    if interrupted:
        event.set()
    return Console(terminal or io.StringIO(), folder, rows=ROWS, tasks=9, interrupted=event)


def logged(message):
    return f"[KFP Executor 2026-11-22 13:50:43,000 INFO]: {message}\n"


def test_the_console_shows_the_stages_and_their_messages_and_keeps_the_failure(tmp_path):
    terminal = io.StringIO()
    console = console_of(tmp_path, terminal)
    console.started(TRAIN)
    for start in range(0, len(OUTPUT), 7):  # pieces, as print makes them
        console.write(OUTPUT[start : start + 7])
    console.ended(TRAIN, succeeded=False)
    shown = [
        "train member 2 of 2 (b), fold 1 ...",
        "  member 2 of 2, fold 1: epoch 1 of 2",
        "train member 2 of 2 (b), fold 1 failed after 0 s",
    ]
    assert terminal.getvalue().splitlines() == shown
    log = tmp_path / "logs" / "train-b-fold1.txt"
    assert console.failure == ("train member 2 of 2 (b), fold 1", "error", "train.csv: no column labels: fname", log)
    assert "Got executor_input" in log.read_text() and "\x1b" not in log.read_text()
    said = [re.fullmatch(r"\d\d:\d\d:\d\d (.*)", line)[1] for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert said == [shown[0], shown[2]]  # progress does not matter later


def test_the_console_does_not_say_that_a_stage_failed_which_was_interrupted(tmp_path):
    terminal = io.StringIO()
    console = console_of(tmp_path, terminal, interrupted=True)
    console.started(TRAIN)
    console.ended(TRAIN, succeeded=False)
    assert terminal.getvalue().splitlines()[-1] == "train member 2 of 2 (b), fold 1 interrupted after 0 s"


def test_the_console_counts_the_stages_that_are_done(tmp_path):
    terminal = io.StringIO()
    console = console_of(tmp_path, terminal)
    console.cached(Task("ingest"))
    console.started(Task("predict", ROWS[0]))
    console.ended(Task("predict", ROWS[0]), succeeded=True)
    assert terminal.getvalue().splitlines() == [
        "ingest unchanged, taken from the cache, 1 of 9 done",
        "predict member 1 of 2 (a) ...",
        "predict member 1 of 2 (a) done after 0 s, 2 of 9 done",
    ]


def test_a_terminal_has_a_bar_per_stage_below_the_lines_that_stay(tmp_path):
    terminal = Terminal()
    console = console_of(tmp_path, terminal)
    console.started(TRAIN)
    console.write(logged("epoch 1 of 2, loss 1.31"))
    console.write(logged("resuming from 3.checkpoint"))
    console.write(logged("epoch 2 of 2, loss 1.2"))
    console.ended(TRAIN, succeeded=True)
    bars = [
        "█████░░░░░ member 2 of 2, fold 1: epoch 1 of 2, loss 1.31",
        "██████████ member 2 of 2, fold 1: epoch 2 of 2",
    ]
    assert all(bar in terminal.getvalue() for bar in bars)
    assert screen(terminal.getvalue()) == [
        "train member 2 of 2 (b), fold 1 ...",
        "  member 2 of 2, fold 1: resuming from 3.checkpoint",
        "train member 2 of 2 (b), fold 1 done after 0 s, 1 of 9 done",
    ]


def screen(written):
    """Return the lines that a terminal shows after the escape sequences of the bars."""
    lines = []
    for piece in re.split("(\x1b\\[\\d+F\x1b\\[J|\n)", written):
        if erased := re.match("\x1b\\[(\\d+)F", piece):
            del lines[-int(erased[1]) :]
        elif piece != "\n" and piece:
            lines.append(piece)
    return lines


def test_bars_fit_the_terminal(monkeypatch):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((20, 3)))
    terminal = Terminal()
    bars = Bars(terminal)
    for name in "abcde":
        bars.set(name, f"{name} with a long text", 0.5)
    assert screen(terminal.getvalue()) == [f"█████░░░░░ {name} with a" for name in "ab"]


@pytest.mark.parametrize(
    ("output", "failure"),
    [
        ("", KILLED),
        ("[KFP Executor 2026-11-22 13:50:43,000 ERROR]: error: only logged\n", KILLED),
        ("error: it went\n", ("error", "it went")),
        ("error: of a library\nTraceback\ndefect: KeyError: 'a: b'\nmore\n", ("defect", "KeyError: 'a: b'")),
        ("out of memory: CUDA out of memory\n", ("out of memory", "CUDA out of memory")),
    ],
)
def test_a_failure_is_read_from_the_last_line_of_the_gate(tmp_path, output, failure):
    console = console_of(tmp_path)
    console.started(Task("ingest"))
    console.write("error: of a stage before\n")
    console.started(TRAIN)
    console.write(output)
    console.ended(TRAIN, succeeded=False)
    assert console.failure[1:3] == failure


def test_a_full_folder_of_temporary_files_is_named(tmp_path, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=4096)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full if path == "/temporary" else None)
    monkeypatch.setattr(tempfile, "tempdir", "/temporary")
    console = console_of(tmp_path)
    console.started(TRAIN)
    console.write(": 3: printf: printf: I/O error\n")
    console.ended(TRAIN, succeeded=False)
    _, kind, message, _ = console.failure
    assert kind == "error" and message.startswith("/temporary: expected space for temporary files")


def test_the_first_stage_that_fails_is_the_failure(tmp_path):
    console = console_of(tmp_path)
    for stage, error in (("select", MemoryError("killed")), ("evaluate", OSError("full"))):
        console.started(Task(stage))
        with contextlib.suppress(OSError, MemoryError):
            raise error
        console.ended(Task(stage), succeeded=False, error=error)
    assert console.failure == ("select", "out of memory", "killed", tmp_path / "logs" / "select.txt")
