"""Helpers for the processes of stages and their child processes."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

TERMINATED = 128 + signal.SIGTERM  # the exit code after SIGTERM, as a shell reports it
# Forked processes start immediately and share imported modules, but forking is only safe on Linux.
CONTEXT = multiprocessing.get_context("fork") if sys.platform == "linux" else multiprocessing.get_context("spawn")
PATIENCE = 60  # seconds between SIGTERM and the end, for a last checkpoint
# If this variable is set, the standard input of a stage stays open, without any content, until its runner has ended.
STDIN_IS_OPEN = "AUDIOTAGGING_STDIN_IS_OPEN"


def begin_stage() -> None:
    """Prepare the process of a stage, before it imports anything that takes seconds, such as torch.

    Only its owner may write to the files that it makes: Kubeflow starts stages with a umask of 0, which lets everybody.
    On this machine, the process ends as soon as its runner has ended, even if that was killed.
    """
    os.umask(os.umask(0o077) | 0o022)
    if os.environ.get(STDIN_IS_OPEN):
        _end_after(lambda: os.read(0, 1))


def end_with_parent() -> None:
    """End this process as soon as its parent process has ended for any reason.

    Otherwise the workers of a killed program would wait for work, or go on computing, forever.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a process started by multiprocessing has a parent"
    _end_after(parent.join)


def _end_after(wait: Callable[[], object]) -> None:
    """Wait in another thread, and then end this process, by SIGTERM first."""

    def end() -> None:
        wait()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE)
        os._exit(TERMINATED)

    threading.Thread(target=end, daemon=True).start()
