"""Runs a training in a process of its own, and starts it again when that process dies.

A program that computes for days is killed now and then (SIGKILL where memory is short, SIGSEGV of a driver), or its GPU
fails under it. Kubeflow, as it is installed, tries only pods again that were deleted or never started. So the stage's
own process only waits here: it imports no torch, and starts the training again, which resumes from its checkpoint.
What would happen again (an exception of the program's, a mistake of the user's) ends it, and so does SIGTERM, which is
passed on.
"""

import logging
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from audiotagging.errors import UserError
from audiotagging.processes import TERMINATED, end_with_parent

PAUSES = (10, 60, 300)  # seconds before the second, third and fourth try
FAILED = 1
USER_ERROR = 2
DEVICE_FAILED = 75  # EX_TEMPFAIL of sysexits.h; another process may use the GPU again
CONTEXT = multiprocessing.get_context("spawn")  # a forked process could not use a GPU that this one has looked at

logger = logging.getLogger(__name__)


def supervise(function: str, **arguments: Any) -> None:
    """Call a function in a process of its own, again and again while that process dies, up to four times.

    Args:
        function: "package.module:name". By name, so that only the new process imports what the module imports.
        arguments: Its arguments. Called a second time, the function must resume what it began.

    Raises:
        SystemExit: With the exit code of the process if the function raised something, which it has printed: 2 for
            a user's mistake, else 1. With 143 after SIGTERM.
        MemoryError: If the process was killed (SIGKILL) in every try, as happens when memory runs out.
        RuntimeError: If it ended by another signal, or by an error of the GPU, in every try.
    """
    with _ended_by_sigterm():
        for pause in (*PAUSES, None):
            code = _call(function, arguments)
            if code == 0:
                return
            if code > 0 and code != DEVICE_FAILED:
                raise SystemExit(code)
            what = "its GPU failed" if code > 0 else f"it was killed by {signal.Signals(-code).name}"
            if pause is not None:
                logger.warning("the training ended because %s; it starts again in %d s", what, pause)
                time.sleep(pause)
    tries = f"the training was tried {len(PAUSES) + 1} times; the last try ended because {what}"
    if code == -signal.SIGKILL:
        raise MemoryError(f"{tries}, as happens when memory runs out")
    raise RuntimeError(tries)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    def end(*_: Any) -> None:
        raise SystemExit(TERMINATED)

    previous = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _call(function: str, arguments: dict[str, Any]) -> int:
    """Call the function in a new process and return its exit code: that of a signal is negative.

    What ends this process meanwhile (SIGTERM, an interrupt) is passed on as SIGTERM, and waits for a last checkpoint.
    """
    formatters = [handler.formatter for handler in logging.getLogger().handlers]
    # The stage's own, so that the log looks the same. A derived one might not be sent to another process.
    formatter = next((each for each in formatters if type(each) is logging.Formatter), None)
    process = CONTEXT.Process(target=_in_child, args=(function, arguments, formatter), daemon=True)
    process.start()
    try:
        process.join()
    except BaseException:
        process.terminate()
        process.join()
        raise
    assert process.exitcode is not None
    return process.exitcode


def _in_child(function: str, arguments: dict[str, Any], formatter: logging.Formatter | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both; the parent's end is a SIGTERM here
    end_with_parent()
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)
    module, _, name = function.partition(":")
    try:
        getattr(import_module(module), name)(**arguments)
    except Exception as error:
        traceback.print_exc()
        sys.stderr.flush()
        if _is_of_device(error):
            os._exit(DEVICE_FAILED)  # at once: cleaning up would ask the GPU again
        sys.exit(USER_ERROR if isinstance(error, UserError) else FAILED)


def _is_of_device(error: Exception) -> bool:
    """Say whether the GPU failed; not so where it is out of memory, which it would be again."""
    texts = ("CUDA error", "cuDNN error", "NCCL error")
    return isinstance(error, RuntimeError) and str(error).startswith(texts)
