"""Runs a server in a thread of this process."""

import threading
from contextlib import contextmanager


@contextmanager
def running(server):
    """Let a server answer until the end of the block."""
    # By default the thread looks only twice a second whether it should end, and every test would wait for that.
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
