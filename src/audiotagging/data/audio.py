"""Decodes sound files to mono samples at 44 100 Hz, and trims silence.

All formats of libsndfile work, such as WAV, FLAC, Ogg and MP3. A clip is decoded at once, a long file in blocks. Files
with 16-bit samples are read as integers and scaled here, which gives the same values as libsndfile's own conversion in
half the time.
"""

import math
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from audiotagging.errors import UserError

RATE = 44_100  # Hz
# Endings of the names of files that libsndfile reads.
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64", ".rf64")
BLOCK_SECONDS = 60.0
RATES = (1_000, 1_000_000)  # Hz. Recordings of bats have up to 500 kHz; a corrupt header can claim any rate.
BLOCK_SAMPLES = 1 << 24  # largest number of samples in a block, of all channels, 64 MiB
LARGEST = 1 << 27  # samples, half a GiB. No clip is as long, but a corrupt header can claim any length.
LOUDEST = 1e6  # times full scale. Float files can hold any value, and a sample's power must stay finite.

CUT_SHORT = re.compile(r"^data : \d+ \(should be", re.MULTILINE)  # libsndfile's note on a truncated WAV file

TRIM_DECIBELS = 60.0
TRIM_FRAME, TRIM_HOP = 2048, 512  # samples
TRIM_FLOOR = 1e-10  # power; librosa raises anything below to this value


Source = Path | BinaryIO  # any sound that libsndfile can read: a path, or an open file that can seek


class SoundError(UserError):
    """Raised for a file that holds no usable sound. The message is the reason, without the name of the file."""


@dataclass(frozen=True)
class Sound:
    """A decoded clip.

    Attributes:
        samples: Mono samples at 44 100 Hz, float32 in [-1, 1), shape (samples,).
        repairs: What was done to use the file: "mixed to mono", "resampled", or "cut short" (the file ends before the
            length that its header states, so that only its beginning was used).
    """

    samples: np.ndarray
    repairs: tuple[str, ...]


def decode(path: Path, *, start: float = 0.0, end: float = math.inf) -> Sound:
    """Decode a sound file, or a piece of it.

    Args:
        path: Any file that libsndfile can read.
        start: Where the piece begins, in seconds.
        end: Where it ends, in seconds. It may be after the end of the file.

    Raises:
        SoundError: If the file cannot be decoded, has no samples there, is too long to fit in memory, or contains
            values that are not sound, such as NaN.
    """
    with _opened(path) as file:
        first, frames = _piece(file, start, end)
        _check_size(file, frames)
        if first:
            file.seek(first)
        samples = _read_mono(file, frames)
        repairs = {
            "mixed to mono": file.channels > 1,
            "resampled": file.samplerate != RATE,
            "cut short": len(samples) < frames or CUT_SHORT.search(file.extra_info) is not None,
        }
        rate = file.samplerate
    if not len(samples):
        raise SoundError("has no samples")
    if rate != RATE:
        samples = _resample(samples, rate)
    return Sound(samples, tuple(what for what, needed in repairs.items() if needed))


def duration(source: Source, *, start: float = 0.0, end: float = math.inf, any_length: bool = False) -> float:
    """Return the duration of a sound file or a piece of it in seconds, as its header states it.

    Args:
        source: Any sound that libsndfile can read: a path, or an open binary file.
        start: Where the piece begins, in seconds.
        end: Where it ends, in seconds. It may be after the end of the file.
        any_length: Whether the file may be too long for `decode`.

    Raises:
        SoundError: If the file cannot be decoded, has no samples, or is too long.
    """
    with _opened(source) as file:
        _, frames = _piece(file, start, end)
        if not any_length:
            _check_size(file, frames)
        if not frames:
            raise SoundError("has no samples")
        return frames / file.samplerate


def decode_blocks(source: Source, *, seconds: float = BLOCK_SECONDS) -> Iterator[np.ndarray]:
    """Decode a sound file in blocks, for files that are too long to fit in memory.

    Args:
        source: Any sound that libsndfile can read: a path, or an open binary file.
        seconds: Approximate length of a block. It is shorter if the file has many channels.

    Yields:
        Mono samples at 44 100 Hz, float32, shape (samples,). Together they equal the samples of `decode`.

    Raises:
        SoundError: If the file cannot be decoded, has no samples, or contains values that are not sound, such as NaN.
    """
    with _opened(source) as file:
        frames = max(1, min(round(seconds * file.samplerate), BLOCK_SAMPLES // file.channels))
        resampler = soxr.ResampleStream(file.samplerate, RATE, 1, dtype="float32")
        empty = True
        while len(samples := _read_mono(file, frames)):
            empty = False
            yield samples if file.samplerate == RATE else resampler.resample_chunk(samples)
        if empty:
            raise SoundError("has no samples")
        if file.samplerate != RATE:
            yield resampler.resample_chunk(np.empty(0, np.float32), last=True)


@contextmanager
def _opened(source: Source) -> Iterator[soundfile.SoundFile]:
    try:
        with soundfile.SoundFile(_checked(source)) as file:
            if not RATES[0] <= file.samplerate <= RATES[1]:
                raise SoundError(
                    f"cannot be decoded: expected a rate of {RATES[0]} to {RATES[1]} Hz, found {file.samplerate} Hz"
                )
            yield file
    except OSError as error:
        raise SoundError(f"cannot be read: {error.strerror}") from error
    except soundfile.LibsndfileError as error:
        raise SoundError(f"cannot be decoded: {error.error_string.rstrip('.')}") from error


def _checked(source: Source) -> bytes | BinaryIO:
    """Return what libsndfile opens: the path as bytes, because a name need not be UTF-8, or a file at its start."""
    if not isinstance(source, Path):
        source.seek(0)
        return source
    if source.suffix.lower() == ".raw":
        raise SoundError("cannot be decoded: a raw file does not state its sampling rate")
    if not source.is_dir() and not stat.S_ISREG(source.stat().st_mode):  # opening a pipe would wait for its other end
        raise SoundError("cannot be read: it is a pipe, a socket or a device, not a file")
    with source.open("rb"):  # gives a better message than libsndfile's "System error"
        pass
    return os.fsencode(source)


def _piece(file: soundfile.SoundFile, start: float, end: float) -> tuple[int, int]:
    """Return the first frame and the number of frames of a piece of a file."""
    first = round(start * file.samplerate)
    if first and first >= file.frames:
        raise SoundError(f"begins at {start:g} s, after the end of its recording")
    return first, round(min(end * file.samplerate, file.frames)) - first


def _check_size(file: soundfile.SoundFile, frames: int) -> None:
    """Raise an error if so many frames would take too much memory, before or after resampling."""
    if max(frames * file.channels, frames * RATE / file.samplerate) > LARGEST:
        raise SoundError(
            f"is too long for a clip, or its header is wrong: {frames} samples in each of {file.channels} "
            f"channels at {file.samplerate} Hz"
        )


def _read_mono(file: soundfile.SoundFile, frames: int) -> np.ndarray:
    """Read up to `frames` samples, average the channels, and return float32, shape (samples,)."""
    if file.subtype == "PCM_16":
        samples = file.read(frames, dtype="int16") * np.float32(2**-15)
    else:
        samples = file.read(frames, dtype="float32")
        if not (np.abs(samples) < LOUDEST).all():  # also false for NaN
            raise SoundError(
                f"contains values that are not sound (NaN, infinity or more than {LOUDEST:g} times full scale)"
            )
    return samples.mean(axis=1) if samples.ndim == 2 else samples


def _resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """Resample to 44 100 Hz with soxr's high quality, to the same length as `librosa.resample`."""
    length = math.ceil(len(samples) * (RATE / rate))
    resampled = soxr.resample(samples, rate, RATE)[:length]
    return np.pad(resampled, (0, length - len(resampled)))


def trim(samples: np.ndarray) -> np.ndarray:
    """Trim silence at both ends, exactly as `librosa.effects.trim` does.

    A frame is silent if it is 60 dB or more below the loudest frame.

    Args:
        samples: float32, shape (samples,).

    Returns:
        A view of the samples from the first to the last frame that is not silent.

    Examples:
        Half a second of silence precedes and follows one second of a 440 Hz tone. The result is a little longer than
        the tone, because a frame is not silent if any part of it is loud.

        >>> import numpy as np
        >>> tone = np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100).astype(np.float32)
        >>> samples = np.pad(tone, 22_050)
        >>> len(trim(samples))
        46080
    """
    if not len(samples):
        return samples
    whole = len(samples) // TRIM_HOP
    blocks = samples[: whole * TRIM_HOP].reshape(whole, TRIM_HOP)
    rest = samples[whole * TRIM_HOP :]
    # A frame's energy is the sum of the four blocks around its centre. Blocks beyond the ends are silent.
    energies = np.concatenate([[0, 0], np.vecdot(blocks, blocks), [np.vecdot(rest, rest), 0, 0]])
    frames = sum(energies[first : first + whole + 1] for first in range(TRIM_FRAME // TRIM_HOP))
    levels = np.maximum(frames / TRIM_FRAME, TRIM_FLOOR)
    levels /= levels.max() * 10 ** (-TRIM_DECIBELS / 10)  # frames above 1 are not silent
    near = (np.abs(levels - 1) < 1e-3).any()  # so close to 1 that librosa's rounding decides
    heard = np.flatnonzero(_loud(samples) if near else levels > 1)
    return samples[heard[0] * TRIM_HOP : (heard[-1] + 1) * TRIM_HOP]


def _loud(samples: np.ndarray) -> np.ndarray:
    """Return which frames are not silent, by the same steps in single precision as librosa.

    Returns:
        bool, shape (frames,).
    """
    padded = np.pad(samples, TRIM_FRAME // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, TRIM_FRAME)[::TRIM_HOP]  # a view
    power = np.square(np.sqrt(np.mean(np.square(frames), axis=1)))
    decibels = 10 * np.log10(np.maximum(TRIM_FLOOR, power))
    return decibels - decibels.max() > -TRIM_DECIBELS
