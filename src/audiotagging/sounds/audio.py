"""Decodes sound files to mono samples at 44 100 Hz, and trims silence.

A clip is decoded at once, a long file in blocks, and both give the same samples: `recordings` finds out how a file is
read whole.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from audiotagging.sounds.recordings import (
    RATE,
    Bound,
    Recording,
    Source,
    count_frames,
    examine,
    examine_and_read,
    read_blocks,
)
from audiotagging.sounds.streams import SoundError

BLOCK_SECONDS = 60.0
# Samples, half a GiB. No clip is as long, but a corrupt header can claim any length.
CLIP = Bound(samples=1 << 27)

TRIM_DECIBELS = 60.0
TRIM_FRAME, TRIM_HOP = 2048, 512  # samples
TRIM_FLOOR = 1e-10  # power; librosa raises anything below to this value


@dataclass(frozen=True)
class Sound:
    """A decoded clip.

    Attributes:
        samples: Mono samples at 44 100 Hz, float32 in [-1, 1), shape (samples,).
        repairs: What was done to use the file: "mixed to mono", "resampled", and what its notes begin with.
        recording: What is known of its file, with notes on what was not used.
    """

    samples: np.ndarray
    repairs: tuple[str, ...]
    recording: Recording


def decode(path: Path, *, start: float = 0.0, end: float = math.inf) -> Sound:
    """Decode a sound file, or a piece of it.

    Args:
        path: Any sound file.
        start: Where the piece begins, in seconds.
        end: Where it ends, in seconds. It may be after the end of the file.

    Raises:
        SoundError: If the file cannot be decoded, has no samples there, is too long to fit in memory, or contains
            values that are not sound, such as NaN.
    """
    if start == 0 and end == math.inf:
        recording, samples = examine_and_read(path, bound=CLIP)
    else:
        recording = examine(path)
        first, frames = _piece(recording.frames, recording.rate, start, end)
        CLIP.check(frames, recording.rate, recording.channels)
        samples = _read_piece(path, recording, first, frames)
    repairs = {
        "mixed to mono": recording.channels > 1,
        "resampled": recording.rate != RATE,
        **{note.partition(":")[0]: True for note in recording.notes},
    }
    if not len(samples):
        raise SoundError("has no samples")
    if recording.rate != RATE:
        samples = _resample(samples, recording.rate)
    return Sound(samples, tuple(what for what, needed in repairs.items() if needed), recording)


def duration(
    source: Source,
    *,
    start: float = 0.0,
    end: float = math.inf,
    bound: Bound = Bound(),  # noqa: B008
) -> float:
    """Return the duration of a sound file or a piece of it in seconds: of what can be heard.

    Args:
        source: Any sound: a path, or an open binary file.
        start: Where the piece begins, in seconds.
        end: Where it ends, in seconds. It may be after the end of the file.
        bound: What is too much to be decoded.

    Raises:
        SoundError: If the file cannot be decoded, has no samples, or is too long.
    """
    total, rate = count_frames(source, bound=bound)
    return _piece(total, rate, start, end)[1] / rate


def decode_blocks(source: Source, *, seconds: float = BLOCK_SECONDS) -> Iterator[np.ndarray]:
    """Decode a sound file in blocks, for files that are too long to fit in memory.

    Args:
        source: Any sound: a path, or an open binary file.
        seconds: Approximate length of a block. It is shorter if the file has many channels.

    Yields:
        Mono samples at 44 100 Hz, float32, shape (samples,). Together they equal the samples of `decode`.

    Raises:
        SoundError: If the file cannot be decoded, has no samples, or contains values that are not sound, such as NaN.
    """
    recording = examine(source)
    blocks = read_blocks(source, recording, frames=round(seconds * recording.rate))
    if recording.rate == RATE:
        yield from blocks
        return
    resampler = soxr.ResampleStream(recording.rate, RATE, 1, dtype="float32")
    left = _resampled_length(recording.frames, recording.rate)
    for samples in blocks:
        resampled = resampler.resample_chunk(samples)[:left]
        left -= len(resampled)
        yield resampled
    rest = resampler.resample_chunk(np.empty(0, np.float32), last=True)[:left]
    yield np.pad(rest, (0, left - len(rest)))  # a sample or two, which are all of them if there are so few


def _piece(frames: int, rate: int, start: float, end: float) -> tuple[int, int]:
    """Return the first sample and the number of samples of a piece of a file of so many samples."""
    first = round(start * rate)
    if first and first >= frames:
        raise SoundError(f"begins at {start:g} s, after the end of its recording")
    return first, round(min(end * rate, frames)) - first


class _Reader:
    """Reads pieces of a file that has to be decoded from the start, one after the other.

    A thousand labels of a recording, in the order of their starts, decode it once.
    """

    def __init__(self, path: Path, recording: Recording) -> None:
        self.path, self.recording = path, recording
        self.first = 0  # of the samples that are in memory
        self._samples = np.empty(0, np.float32)
        self._blocks = read_blocks(path, recording, frames=round(BLOCK_SECONDS * recording.rate))

    def read(self, first: int, frames: int) -> np.ndarray:
        """Return a piece that does not begin before the last one."""
        while True:
            dropped = min(first - self.first, len(self._samples))
            self._samples, self.first = self._samples[dropped:], self.first + dropped
            if len(self._samples) >= frames and self.first == first:
                return self._samples[:frames].copy()
            block = next(self._blocks, None)
            if block is None:
                return self._samples[:frames].copy()
            self._samples = np.concatenate([self._samples, block])


_reader: list[_Reader] = []  # that of the last piece. Whoever uses it takes it out, so that threads do not share it.


def _read_piece(path: Path, recording: Recording, first: int, frames: int) -> np.ndarray:
    """Return a piece of a file: mono, at the file's rate, float32, shape (frames,)."""
    if recording.exact:
        found = []
        for block in read_blocks(path, recording, frames=frames, first=first):
            found.append(block[:frames])
            frames -= len(found[-1])
            if not frames:
                break
        return np.concatenate(found) if len(found) != 1 else found[0]
    reader = _reader.pop() if _reader else None
    if reader is None or reader.path != path or reader.recording is not recording or reader.first > first:
        reader = _Reader(path, recording)
    samples = reader.read(first, frames)
    _reader[:] = [reader]
    return samples


def _resampled_length(frames: int, rate: int) -> int:
    return math.ceil(frames * (RATE / rate))


def _resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """Resample to 44 100 Hz with soxr's high quality, to the same length as `librosa.resample`."""
    length = _resampled_length(len(samples), rate)
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
