"""Sound files to mono samples at 44 100 Hz: decode, mix, resample, trim.

Reads whatever libsndfile can (WAV, FLAC, Ogg, MP3 ...), a whole clip at once or a long file in blocks. 16-bit files are
read as integers and scaled here, in half the time of libsndfile's own conversion and to the same values.
"""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from audiotagging.errors import UserError

RATE = 44_100  # Hz
BLOCK_SECONDS = 60.0
LARGEST = 1 << 27  # samples, half a GiB; more than any clip has, but heads of files may say anything
LOUDEST = 1e6  # times full scale; float files may hold anything, and the power of a sample must stay a number

CUT_SHORT = re.compile(r"^data : \d+ \(should be", re.MULTILINE)  # libsndfile's note on a WAV file's length

TRIM_DECIBELS = 60.0
TRIM_FRAME, TRIM_HOP = 2048, 512  # samples
TRIM_FLOOR = 1e-10  # power; librosa takes anything below for this


class SoundError(UserError):
    """A file that holds no usable sound; the message is the reason, without the file's name."""


@dataclass(frozen=True)
class Sound:
    """A decoded clip.

    Attributes:
        samples: float32 in [-1, 1), shape (samples,), at 44 100 Hz.
        mended: What had to be done to use it: "mixed to mono", "resampled", "cut short" (the file ends before the
            length it announces, and what is there is used).
    """

    samples: np.ndarray
    mended: tuple[str, ...]


def decode(path: Path) -> Sound:
    """Decode a whole sound file.

    Raises:
        SoundError: If it cannot be decoded, has no samples, is too long to be held whole, or holds values that are no
            sound.
    """
    with _opened(path) as file:
        _check_size(file)
        samples = _read_mono(file, file.frames)
        mended = {
            "mixed to mono": file.channels > 1,
            "resampled": file.samplerate != RATE,
            "cut short": len(samples) < file.frames or CUT_SHORT.search(file.extra_info) is not None,
        }
        rate = file.samplerate
    if not len(samples):
        raise SoundError("has no samples")
    if rate != RATE:
        samples = _resample(samples, rate)
    return Sound(samples, tuple(what for what, needed in mended.items() if needed))


def duration(path: Path) -> float:
    """Return how long a sound file is by its head, in seconds.

    Raises:
        SoundError: If it cannot be decoded, has no samples, or is too long for `decode`.
    """
    with _opened(path) as file:
        _check_size(file)
        if not file.frames:
            raise SoundError("has no samples")
        return file.frames / file.samplerate


def decode_blocks(path: Path, *, seconds: float = BLOCK_SECONDS) -> Iterator[np.ndarray]:
    """Yield a sound file's samples piece by piece, for files too long to be held whole.

    Args:
        path: Any file libsndfile can read.
        seconds: About how long a piece is.

    Yields:
        Mono samples at 44 100 Hz, float32, shape (samples,); together the same as from `decode`.

    Raises:
        SoundError: If the file cannot be decoded, has no samples, or holds values that are no sound.
    """
    with _opened(path) as file:
        frames = max(1, round(seconds * file.samplerate))
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
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    if path.suffix.lower() == ".raw":
        raise SoundError("cannot be decoded: a raw file does not tell its rate")
    try:
        with path.open("rb"):  # what is wrong here libsndfile calls a system error
            pass
        with soundfile.SoundFile(path) as file:
            yield file
    except OSError as error:
        raise SoundError(f"cannot be read: {error.strerror}") from error
    except soundfile.LibsndfileError as error:
        raise SoundError(f"cannot be decoded: {error.error_string.rstrip('.')}") from error


def _check_size(file: soundfile.SoundFile) -> None:
    """Refuse a file that would take too much memory, as it is or at 44 100 Hz."""
    if max(file.frames * file.channels, file.frames * RATE / file.samplerate) > LARGEST:
        raise SoundError(
            f"is too long for a clip, or its head is wrong: {file.frames} samples in each of {file.channels} channels "
            f"at {file.samplerate} Hz"
        )


def _read_mono(file: soundfile.SoundFile, frames: int) -> np.ndarray:
    """Return the next samples of a file, float32, channels averaged; fewer than asked for at its end."""
    if file.subtype == "PCM_16":
        samples = file.read(frames, dtype="int16") * np.float32(2**-15)
    else:
        samples = file.read(frames, dtype="float32")
        if not (np.abs(samples) < LOUDEST).all():  # also false of a NaN
            raise SoundError(f"holds values that are no sound (NaN, infinity or beyond {LOUDEST:g} times full scale)")
    return samples.mean(axis=1) if samples.ndim == 2 else samples


def _resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """Bring samples to 44 100 Hz, in soxr's high quality and of the length that librosa gives them."""
    length = math.ceil(len(samples) * (RATE / rate))
    resampled = soxr.resample(samples, rate, RATE)[:length]
    return np.pad(resampled, (0, length - len(resampled)))


def trim(samples: np.ndarray) -> np.ndarray:
    """Cut silence off both ends: frames 60 dB or more below the loudest, exactly as `librosa.effects.trim`.

    Args:
        samples: float32, shape (samples,).

    Returns:
        A view of the samples from the first frame that is not silent to the last.
    """
    if not len(samples):
        return samples
    whole = len(samples) // TRIM_HOP
    blocks = samples[: whole * TRIM_HOP].reshape(whole, TRIM_HOP)
    rest = samples[whole * TRIM_HOP :]
    # A frame's energy is that of the four blocks around its centre; beyond the ends is silence.
    energies = np.concatenate([[0, 0], np.vecdot(blocks, blocks), [np.vecdot(rest, rest), 0, 0]])
    frames = sum(energies[first : first + whole + 1] for first in range(TRIM_FRAME // TRIM_HOP))
    levels = np.maximum(frames / TRIM_FRAME, TRIM_FLOOR)
    levels /= levels.max() * 10 ** (-TRIM_DECIBELS / 10)  # above 1: not silent
    near = (np.abs(levels - 1) < 1e-3).any()  # too near to call: how librosa rounds decides
    heard = np.flatnonzero(_loud(samples) if near else levels > 1)
    return samples[heard[0] * TRIM_HOP : (heard[-1] + 1) * TRIM_HOP]


def _loud(samples: np.ndarray) -> np.ndarray:
    """Tell for each frame whether it is not silent, in the single precision and the steps of librosa.

    Returns:
        bool, shape (frames,).
    """
    padded = np.pad(samples, TRIM_FRAME // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, TRIM_FRAME)[::TRIM_HOP]  # a view
    power = np.square(np.sqrt(np.mean(np.square(frames), axis=1)))
    decibels = 10 * np.log10(np.maximum(TRIM_FLOOR, power))
    return decibels - decibels.max() > -TRIM_DECIBELS
