"""Processes that this one starts."""

import multiprocessing
import os
import signal
import threading

TERMINATED = 128 + signal.SIGTERM  # the exit code after SIGTERM, as a shell reports it


def end_with_parent() -> None:
    """Tell this process to stop (SIGTERM) as soon as the one that started it is gone, however that ended.

    Without this, the workers of a killed program would wait for work, or compute for nobody, forever.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a process that multiprocessing started has a parent"

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
