"""Hides what libmpg123, the decoder of MP3 in libsndfile, writes to the error output of the process.

It writes its own words there about every damaged frame, and libsndfile offers no way to turn that off. C's `stderr` is
replaced while it decodes, which Python's own error output does not use, so that other threads can still write to that.
"""

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_lock = threading.Lock()
_hiding = 0  # how many threads decode


@contextmanager
def hidden_messages() -> Iterator[None]:
    """Hide what C libraries write to the error output within the block."""
    global _hiding
    stderr, shown, nowhere = _files()
    with _lock:
        _hiding += 1
        stderr.value = nowhere
    try:
        yield
    finally:
        with _lock:
            _hiding -= 1
            if not _hiding:
                stderr.value = shown


@cache
def _files() -> tuple[Any, int | None, int | None]:
    """Return C's variable `stderr`, its value, and a file that goes nowhere."""
    library = ctypes.CDLL(None)
    library.fopen.restype = ctypes.c_void_p
    stderr = ctypes.c_void_p.in_dll(library, "__stderrp" if sys.platform == "darwin" else "stderr")
    return stderr, stderr.value, library.fopen(b"/dev/null", b"w")
