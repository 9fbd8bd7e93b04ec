"""Runs the pipeline on this machine by KFP's own local runner."""

import builtins
import contextlib
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
from kfp import local
from kfp.local.config import LocalRunnerType

from commands.kfp_internals import local_runner, replaced
from commands.local.console import Console
from commands.local.containers import run_container, stop_containers
from commands.local.slots import Slots

CHECKPOINT_SECONDS = 60  # that an interrupted stage may take to write its checkpoint


class StageError(Exception):
    """A stage failed.

    Attributes:
        by_user: Whether it is something that the user can fix.
    """

    def __init__(self, stage: str, kind: str, message: str, log: Path) -> None:
        reason = message or kind or "it ended without a message, as one that is killed when memory runs out"
        super().__init__(f"{stage}: {reason} (all of its output: {log})")
        # The library defines no other exceptions than user errors; those of the system have names of Python's own.
        of_system = isinstance(error := getattr(builtins, kind, None), type) and issubclass(error, OSError)
        self.by_user = kind.startswith("audiotagging.") or of_system


def run_pipeline(
    pipeline: Any, parameters: dict[str, Any], *, runner: LocalRunnerType, root: Path, log: Path, slots: Slots
) -> dict[str, Any]:
    """Run the pipeline to its end.

    Args:
        pipeline: The pipeline.
        parameters: Its parameters.
        runner: KFP's subprocess or Docker runner.
        root: Where the stages' outputs go. Stages whose outputs are there already, made with the same image and
            arguments, are not run again.
        log: File that gets all output, appended.
        slots: How many rows of the loop run at once, and the environment of each.

    Returns:
        The pipeline's outputs: artifacts and lists of artifacts.

    Raises:
        StageError: If a stage fails.
    """
    local.init(runner, pipeline_root=str(root), enable_caching=True)
    console = Console(sys.stdout, log)
    interrupted = threading.Event()
    with (
        _printing_to(console),
        local_runner(console, slots=slots, run_container=run_container, interrupted=interrupted),
        _children_stopped_on_signals(interrupted),
    ):
        try:
            return pipeline(**parameters).outputs
        except RuntimeError as error:
            stage, kind, message = console.failure or ("pipeline", "", str(error))
            raise StageError(stage, kind, message, log) from None


@contextlib.contextmanager
def _printing_to(console: Console) -> Iterator[None]:
    """Send all that is printed and logged in this process to the console."""
    handlers = [logging.StreamHandler(console)]  # type: ignore[type-var]
    with (
        replaced(logging.getLogger(), "handlers", handlers),
        contextlib.redirect_stdout(console),  # type: ignore[type-var]
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", RuntimeWarning)  # that an image of ours may not hold Python
        yield


@contextlib.contextmanager
def _children_stopped_on_signals(interrupted: threading.Event) -> Iterator[None]:
    """End the stages' processes and containers, and wait for their checkpoints, when this one is told to stop."""

    def stop(signum: int, frame: FrameType | None) -> None:
        interrupted.set()
        children = psutil.Process().children(recursive=True)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.terminate()
        stop_containers(CHECKPOINT_SECONDS)
        # Looked at, not waited for: KFP's threads take a process whose exit code is gone for one that did its work.
        deadline = time.monotonic() + CHECKPOINT_SECONDS
        while any(map(_works, children)) and time.monotonic() < deadline:
            time.sleep(0.1)
        sys.__stderr__.write("\ninterrupted; the same command goes on from here\n")  # type: ignore[union-attr]
        os._exit(128 + signum)

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _works(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
