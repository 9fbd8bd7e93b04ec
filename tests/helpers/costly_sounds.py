"""Sounds of few bytes that take long to decode, and the processes that decode them."""

import struct
from pathlib import Path

import numpy as np
import pytest

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")


def costly(seconds):
    """Return a WAV file of few bytes for its length: a thousand samples per second, of 8 bits."""
    size = 1000 * seconds
    head = b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 1000, 1000, 1, 8)
    head += b"data" + struct.pack("<I", size)
    return head + np.random.default_rng(0).bytes(size)


def children(decoders):
    """Return the ids of the processes that have a sound."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
    return [child for child, parent in parents.items() if parent == decoders._process.pid]
