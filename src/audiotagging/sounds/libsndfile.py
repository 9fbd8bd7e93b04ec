"""Reads sound files with libsndfile: WAV, FLAC, Ogg, MP3 and others.

Files are opened by descriptor, not by name: by name, libsndfile takes any text that is called `x.au` or `x.gsm` for a
sound. Nothing is sought between reads, because a position is not exact where samples are predicted from earlier ones.

Files with 16-bit samples are read as integers and scaled here, which gives the same values as libsndfile's own
conversion in half the time.

Hides what libmpg123, the decoder of MP3 in libsndfile, writes to the error output of the process.

It writes its own words there about every damaged frame, and libsndfile offers no way to turn that off. C's `stderr` is
replaced while it decodes, which Python's own error output does not use, so that other threads can still write to that.
"""

import ctypes
import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any, BinaryIO

import numpy as np
import soundfile

from audiotagging.base.machine import check_machine
from audiotagging.sounds.file_part import FilePart
from audiotagging.sounds.pcm_headers import Samples
from audiotagging.sounds.streams import DecoderError, check_head, check_values

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


# Bytes per sample of what is stored as it is, so that the size of a file tells how many samples there are.
WIDTHS = {
    "PCM_S8": 1,
    "PCM_U8": 1,
    "ULAW": 1,
    "ALAW": 1,
    "PCM_16": 2,
    "PCM_24": 3,
    "PCM_32": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
}
BIG_ENDIAN = ("AIFF", "AU", "CAF")  # unless the file says otherwise
UNKNOWN_LENGTH = 1 << 62  # frames; libsndfile's own value is 2^63 - 1
PREDICTED_BLOCK = 1 << 13  # bytes, more than a block of any ADPCM


class SndFile:
    """A file that libsndfile reads. `open_sndfile` opens one.

    Attributes:
        rate: Samples per second and channel.
        channels: Number of channels.
        frames: Samples per channel, as far as libsndfile knows. None if it does not know.
        plain: Whether the samples are stored as they are. Then `frames` is right.
        certain: Whether they are also numbers that a sound can have, whatever they are.
        exact: Whether a seek is exact, which it is if no sample depends on one far before it.
    """

    def __init__(self, file: BinaryIO, sound: soundfile.SoundFile) -> None:
        self._file, self._sound = file, sound
        self._hidden = hidden_messages if sound.format == "MP3" else nullcontext
        self.rate, self.channels = sound.samplerate, sound.channels
        self.frames = None if sound.frames > UNKNOWN_LENGTH else sound.frames
        self.plain = sound.subtype in WIDTHS and sound.format != "FLAC"
        self.certain = self.plain and sound.subtype not in ("FLOAT", "DOUBLE")
        self.exact = self.plain or (sound.format == "FLAC" and self.frames is not None)

    def seek(self, frame: int) -> None:
        """Go to a frame."""
        with _errors():
            self._sound.seek(frame)

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        """Yield the samples, float32, shape (up to `frames`, channels), full scale being 1.

        Raises:
            DecoderError: If they cannot be decoded, or no more of them.
            SoundError: If they are not sound, such as NaN.
        """
        kind = "int16" if self._sound.subtype == "PCM_16" else "float32"
        while True:
            with _errors(), self._hidden():
                block = self._sound.read(frames, dtype=kind, always_2d=True)
            if not len(block):
                return
            if kind == "int16":
                yield block * np.float32(2**-15)
            else:
                check_values(block)
                yield block

    def has_read_all(self, frames: int, samples: Samples | None) -> bool:
        """Return whether so many frames are all that is in the file.

        Args:
            frames: The number of frames that `blocks` has yielded.
            samples: Where they are, for formats whose header says so.
        """
        if self._sound.format == "MP3":  # whose length may be an estimate; `mpeg_frames.walk` has seen its end
            return frames > 0
        if self.frames is not None and frames != self.frames:
            return False
        position = self._file.tell()  # how far libsndfile has read
        if samples is not None:
            return frames > 0 and position >= samples.offset + samples.size - PREDICTED_BLOCK
        return self._sound.format not in ("FLAC", "OGG") or position >= self._file.seek(0, os.SEEK_END)


class _Sequential(soundfile.SoundFile):
    """Reads on from where it is. SoundFile itself seeks after every read, to the position that it has computed."""

    def seekable(self) -> bool:
        return False


@contextmanager
def open_sndfile(file: BinaryIO, samples: Samples | None) -> Iterator[SndFile]:
    """Open a file.

    Args:
        file: The file.
        samples: Where its samples are, if `pcm_headers` found them.

    Raises:
        DecoderError: If libsndfile does not know the format.
        SoundError: If its rate or its channels are impossible.
    """
    with _errors(), hidden_messages():
        opened = _Sequential(_handle(file), closefd=False)
    with _errors(), opened as sound:
        check_head(sound.samplerate, sound.channels)
        width = WIDTHS.get(sound.subtype, 0) * sound.channels
        if samples is None or not width or sound.format == "FLAC" or sound.frames >= samples.size // width:
            yield SndFile(file, sound)
            return
        raw = {"samplerate": sound.samplerate, "channels": sound.channels, "subtype": sound.subtype, "format": "RAW"}
        raw["endian"] = sound.endian
        if sound.endian == "FILE":
            raw["endian"] = "BIG" if sound.format in BIG_ENDIAN else "LITTLE"
    # libsndfile believes the size in the header, which is wrong: the samples are read without it.
    with _errors(), _Sequential(FilePart(file, samples.offset, samples.size), **raw) as sound:
        yield SndFile(file, sound)


def _handle(file: BinaryIO) -> int | BinaryIO:
    """Return a file at its start, which libsndfile takes for the start of the sound: the descriptor of a file on disk.

    libsndfile moves in that, of which a file with a buffer would know nothing.
    """
    file.seek(0)
    return file.fileno() if isinstance(file, io.FileIO) else file


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except soundfile.LibsndfileError as error:
        check_machine(error)
        reason = error.error_string.removeprefix("Error : ").strip().rstrip(".")
        raise DecoderError(f"cannot be decoded: {REASONS.get(reason, reason)}") from error


# libsndfile's own words where they say nothing to a user, or something wrong.
REASONS = {
    "Format not recognised": "it is no sound file of a known format",
    "File does not exist or is not a regular file (possibly a pipe?)": "it is no sound file of a known format",
    "Internal psf_fseek() failed": "its content is damaged",
    "Unspecified internal error": "its content is damaged",
    "unknown error in flac decoder": "its content is damaged",
    "flac decoder lost sync": "its content is damaged or cut short",
}
