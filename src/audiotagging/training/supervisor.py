"""Runs training in a child process, and restarts it if that process dies.

A training that takes days may be killed (by SIGKILL if memory is short, by SIGSEGV in a driver), or its GPU may fail.
By default, Kubeflow retries only pods that were deleted or never started. The process of the stage therefore only
waits: it does not import torch, and it restarts the training, which resumes from its last checkpoint. Errors that would
happen again, such as an exception or a mistake of the user, are not retried. SIGTERM is passed on to the child and ends
both.
"""

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from audiotagging.base.errors import MachineError
from audiotagging.base.gate import explain, leave
from audiotagging.base.processes import TERMINATED, end_with_parent

PAUSES = (10, 60, 300)  # seconds before the second, third and fourth attempt
ENDED = "the training ended"  # how the message about it begins
DEVICE_FAILED = 75  # EX_TEMPFAIL of sysexits.h: another process may be able to use the GPU
CONTEXT = multiprocessing.get_context("spawn")  # a forked process cannot use a GPU that its parent has initialised

logger = logging.getLogger(__name__)


def supervise(function: str, **arguments: Any) -> None:
    """Call a function in a child process. If that process dies, call it again, up to four times in all.

    Args:
        function: The function as "package.module:name". Only the child process imports the module.
        arguments: Arguments of the function. If the function is called again, it must resume its earlier work.

    Raises:
        SystemExit: If the function raised an exception, which the child process has printed, with the exit code of the
            gate. Also after SIGTERM, with exit code 143.
        MemoryError: If the last attempt was killed by SIGKILL, most likely because memory ran out.
        MachineError: If the last attempt was ended by another signal or by an error of the GPU.
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
                logger.warning("%s because %s; it will restart in %d s", ENDED, what, pause)
                time.sleep(pause)
    attempts = f"the training was started {len(PAUSES) + 1} times; the last attempt ended because {what}"
    if code == -signal.SIGKILL:
        raise MemoryError(f"{attempts}, most likely because memory ran out")
    raise MachineError(attempts)


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
    """Call the function in a new process and return its exit code, which is negative if a signal ended it.

    If this process is ended by SIGTERM or an interrupt, it sends SIGTERM to the new process and waits until that has
    written a last checkpoint.
    """
    formatters = [handler.formatter for handler in logging.getLogger().handlers]
    # Use the stage's formatter, so that the log looks the same. A subclass might not be picklable.
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
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # a terminal sends it to both processes; the parent passes it on as SIGTERM
    end_with_parent()
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)
    module, _, name = function.partition(":")
    try:
        getattr(import_module(module), name)(**arguments)
    except Exception as error:
        code = leave(error, log=sys.stderr)
        if explain(error)[0] == "machine":
            os._exit(DEVICE_FAILED)  # exit immediately, because cleaning up would use the GPU again
        sys.exit(code)
