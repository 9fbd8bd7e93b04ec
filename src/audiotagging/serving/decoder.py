"""Decodes sounds of strangers in processes of their own: `python -m audiotagging.serving.decoder`.

The process imports what decoding takes, which has no torch in it, and then divides once per sound, which takes
milliseconds. What a sound does to its process ends with that: it may crash a decoder, or need too much memory or time.
A process also ends as soon as the other end of its connection is closed, by the server or by the end of the server.

The first process finds its connection at its standard input. Each message there is one byte and the descriptor of a
connection for one sound, on which the server sends the sound after a header, and gets spectrograms after another.
"""

import gc
import json
import os
import resource
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, NoReturn

import numpy as np

from audiotagging.artifacts.mels import MELS
from audiotagging.base.errors import UserError
from audiotagging.sounds import ffmpeg
from audiotagging.sounds.recordings import Bound, examine
from audiotagging.sounds.spectrogram import clip_spectrogram
from audiotagging.tagging.tagger import piece_spectrograms
from audiotagging.tagging.windows import count_windows, windows

STATM = Path("/proc/self/statm")
READY = b"."  # what the first process sends when it has imported everything
GRACE = 5  # seconds of processor time between the end of a sound that takes too long and that of its process
HEAD = 8  # bytes of the length of a header, and of what follows the header


@dataclass(frozen=True, kw_only=True)
class Task:
    """What to do with a sound.

    Attributes:
        seconds: The longest sound.
        samples: The largest number of samples of all its channels.
        windows: The largest number of windows.
        every: The length of windows in seconds. None for pieces of the whole sound.
        overlap: How much of a window the next one covers too, in seconds.
        processor: The most processor time in seconds.
        memory: The most memory in bytes, beside what all processes have.
        niceness: How far others go first, as the system counts it.
    """

    seconds: float
    samples: float
    windows: int
    every: float | None
    overlap: float
    processor: int
    memory: int
    niceness: int = 0


class Decoded(NamedTuple):
    """What was found in a sound.

    Attributes:
        seconds: Its duration.
        notes: What was not used of it.
        places: Start and end of each window in seconds. Empty for pieces.
        spectrograms: Those of the windows that are not silent, or of the pieces, each uint8 and (frames, 128).
    """

    seconds: float
    notes: list[str]
    places: list[tuple[float, float]]
    spectrograms: list[np.ndarray]


class TooCostlyError(UserError):
    """Raised for a sound that takes too much time or memory to decode."""


def decode(content: bytes, task: Task) -> Decoded:
    """Decode a sound.

    Raises:
        UserError: If it cannot be decoded, or if there is too much of it.
    """
    file = BytesIO(content)
    recording = examine(file, bound=Bound(task.seconds, task.samples))
    seconds, notes = recording.frames / recording.rate, list(recording.notes)
    if task.every is None:
        return Decoded(seconds, notes, [], list(piece_spectrograms(file)))
    count = count_windows(file, every=task.every, overlap=task.overlap)
    if count > task.windows:
        raise UserError(f"expected at most {task.windows} windows, found {count}; take longer ones")
    decoded = Decoded(seconds, notes, [], [])
    for start, end, samples in windows(file, every=task.every, overlap=task.overlap):
        spectrogram = clip_spectrogram(samples)
        if spectrogram.any():
            decoded.places.append((start, end))
            decoded.spectrograms.append(spectrogram)
    return decoded


def answer_of(header: dict[str, Any], body: bytes) -> Decoded:
    """Return what a process has sent.

    Raises:
        UserError: If it says that there is something wrong with the sound.
        RuntimeError: If it says that there is a defect of the program.
    """
    for key, kind in (("costly", TooCostlyError), ("refused", UserError), ("defect", RuntimeError)):
        if key in header:
            raise kind(header[key])
    frames = np.frombuffer(body, np.uint8).reshape(-1, MELS)
    ends = np.cumsum(header["lengths"], dtype=int)
    spectrograms = [frames[end - length : end] for end, length in zip(ends, header["lengths"], strict=True)]
    return Decoded(header["seconds"], header["notes"], [(start, end) for start, end in header["places"]], spectrograms)


def message(header: dict[str, Any], *, size: int = 0) -> list[bytes]:
    """Return the beginning of a message: two lengths, and a header. So many bytes follow."""
    head = json.dumps(header).encode()
    return [len(head).to_bytes(HEAD), size.to_bytes(HEAD), head]


def main() -> None:
    """Prepare everything, and then divide for every sound."""
    for interrupt in (signal.SIGINT, signal.SIGTERM):  # of a terminal, which reach the server too: it finishes first
        signal.signal(interrupt, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the others
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ffmpeg.load_libraries()
    gc.freeze()
    control = socket.socket(fileno=sys.stdin.fileno())
    control.sendall(READY)
    while True:
        _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not descriptors:
            return
        with socket.socket(fileno=descriptors[0]) as connection:
            if not os.fork():
                control.close()
                _run(connection)


def _run(connection: socket.socket) -> NoReturn:
    """Decode one sound, and end the process."""
    try:
        connection.sendall(READY)
        for part in _answer(connection):
            connection.sendall(part)
    finally:
        os._exit(0)


def _answer(connection: socket.socket) -> Sequence[bytes | memoryview]:
    try:
        header, content = _receive(connection)
        task = Task(**header)
        threading.Thread(target=_end_after, args=(connection,), daemon=True).start()
        _limit(task, connection)
        decoded = decode(content, task)
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    except MemoryError:
        return message({"costly": f"takes more than {task.memory / 1e6:.0f} MB of memory to decode"})
    except UserError as error:
        return message({"refused": str(error)})
    except Exception:
        return message({"defect": traceback.format_exc()})
    lengths = [len(each) for each in decoded.spectrograms]
    header = {"seconds": decoded.seconds, "notes": decoded.notes, "places": decoded.places, "lengths": lengths}
    bodies = [np.ascontiguousarray(each).data.cast("B") for each in decoded.spectrograms]
    return [*message(header, size=sum(map(len, bodies))), *bodies]


def _receive(connection: socket.socket) -> tuple[dict[str, Any], bytes]:
    with connection.makefile("rb") as file:
        lengths = [int.from_bytes(file.read(HEAD)) for _ in range(2)]
        return json.loads(file.read(lengths[0])), file.read(lengths[1])


def _end_after(connection: socket.socket) -> None:
    """End this process when the other end of its connection is closed."""
    with suppress(OSError):  # if that had not read everything
        connection.recv(1)
    os._exit(0)


def _limit(task: Task, connection: socket.socket) -> None:
    """Limit this process. Where the decoder does not let Python run, the system ends it a little later."""

    def end(number: int, frame: FrameType | None) -> None:
        text = f"takes more than {task.processor} s of processor time to decode"
        connection.sendall(b"".join(message({"costly": text})))
        os._exit(0)

    os.nice(task.niceness)
    signal.signal(signal.SIGXCPU, end)
    resource.setrlimit(resource.RLIMIT_CPU, (task.processor, task.processor + GRACE))
    if STATM.exists():  # other systems do not limit memory
        memory = int(STATM.read_text(encoding="ascii").split()[0]) * resource.getpagesize() + task.memory
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


if __name__ == "__main__":
    main()
