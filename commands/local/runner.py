"""Runs the pipeline on this machine with KFP's local runner."""

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

from audiotagging.base.gate import REPORT
from audiotagging.base.progress import INTERVAL
from commands.kfp_internals import Task, count_tasks, local_runner, replaced
from commands.local.console import Console
from commands.local.containers import run_container, stop_containers
from commands.local.slots import Slots
from commands.local.subprocesses import run_subprocess

ADVICE = {
    "error": "fix this, and run the same command to resume",
    "out of memory": "use --parallel 1 or a smaller batch_size; the same command resumes the run",
    "machine": "check the GPU and its driver (nvidia-smi), or use another machine; the same command resumes the run",
    "defect": f"{REPORT} the full output",
}
CHECKPOINT_SECONDS = 60  # how long an interrupted stage may take to write its checkpoint


class StageError(Exception):
    """Raised when a stage fails.

    Attributes:
        kind: A key of `gate.CODES`.
    """

    def __init__(self, stage: str, kind: str, message: str, log: Path) -> None:
        self.kind = kind
        super().__init__(f"{stage}: {message}; {ADVICE[kind]} (full output: {log})")


def run_pipeline(
    pipeline: Any, parameters: dict[str, Any], *, runner: LocalRunnerType, root: Path, work: Path, slots: Slots
) -> list[tuple[Task, dict[str, Any]]]:
    """Run the pipeline until it ends.

    Args:
        pipeline: The pipeline.
        parameters: Its parameters.
        runner: KFP's subprocess or Docker runner.
        root: The folder for the outputs of the stages. If it contains the outputs of a stage with the same image and
            arguments, that stage does not run again.
        work: The folder for the logs, which are appended to.
        slots: The number of rows of the loop to run at once, and their environment variables.

    Returns:
        The stages that were done, in the loop for every row, with their outputs by name.

    Raises:
        StageError: If a stage fails.
    """
    local.init(runner, pipeline_root=str(root), enable_caching=True)
    rows = parameters.get("rows", [])
    interrupted = threading.Event()
    tasks = count_tasks(pipeline, len(rows)) if rows else None
    console = Console(sys.stdout, work, rows=rows, tasks=tasks, interrupted=interrupted)
    if sys.stdout.isatty():
        slots = slots.with_variables({INTERVAL: "1"})
    with (
        _printing_to(console),
        local_runner(
            console, slots=slots, run_subprocess=run_subprocess, run_container=run_container, interrupted=interrupted
        ) as produced,
        _children_stopped_on_signals(interrupted),
    ):
        try:
            pipeline(**parameters)
        except RuntimeError:
            if console.failure is None:
                raise
            raise StageError(*console.failure) from None
    return produced


@contextlib.contextmanager
def _printing_to(console: Console) -> Iterator[None]:
    """Redirect everything that this process prints and logs to the console."""
    handlers = [logging.StreamHandler(console)]  # type: ignore[type-var]
    with (
        replaced(logging.getLogger(), "handlers", handlers),
        contextlib.redirect_stdout(console),  # type: ignore[type-var]
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", RuntimeWarning)  # kfp warns that our images might have no Python
        yield


@contextlib.contextmanager
def _children_stopped_on_signals(interrupted: threading.Event) -> Iterator[None]:
    """When this process is told to stop, end all stages, and wait until they have written their checkpoints."""

    def stop(signum: int, frame: FrameType | None) -> None:
        interrupted.set()
        children = psutil.Process().children(recursive=True)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.terminate()
        stop_containers(CHECKPOINT_SECONDS)
        # Poll instead of waiting: if we collected an exit code, KFP's threads would take that process for successful.
        deadline = time.monotonic() + CHECKPOINT_SECONDS
        while any(map(_works, children)) and time.monotonic() < deadline:
            time.sleep(0.1)
        sys.__stderr__.write("\ninterrupted; the same command resumes the run\n")  # type: ignore[union-attr]
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
