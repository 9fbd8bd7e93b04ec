"""Helpers for child processes."""

import multiprocessing
import os
import signal
import threading

TERMINATED = 128 + signal.SIGTERM  # the exit code after SIGTERM, as a shell reports it


def end_with_parent() -> None:
    """Send SIGTERM to this process as soon as its parent process ends for any reason.

    Otherwise the workers of a killed program would wait for work, or go on computing, forever.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a process started by multiprocessing has a parent"

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
