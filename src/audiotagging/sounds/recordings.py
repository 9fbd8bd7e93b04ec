"""Reads a sound file whole, with the decoder that can, and says what was not read.

libsndfile reads most files, and stops without a word where it has read what the header states, or where the format
changes. A file is therefore examined first: if the header leaves no doubt, as with WAV, that takes no time; if it does,
the file is decoded once, and FFmpeg takes over if libsndfile did not get to its end. The result is remembered, so that
everything that is read of a file comes from one decoder.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import BinaryIO, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from audiotagging.base.files import open_file
from audiotagging.base.machine import check_machine
from audiotagging.base.wording import pluralize
from audiotagging.sounds.channels import ChannelMeter, Mix, to_mono
from audiotagging.sounds.ffmpeg import open_ffmpeg
from audiotagging.sounds.formats import ffmpeg_format, looks_like_mp3, skip_id3
from audiotagging.sounds.libsndfile import SndFile, open_sndfile
from audiotagging.sounds.mpeg_frames import Walk, first_frame, walk
from audiotagging.sounds.ogg_pages import has_last_page
from audiotagging.sounds.pcm_headers import Samples, find_samples
from audiotagging.sounds.streams import DecoderError, SoundError, Stream


class ChannelOf(NamedTuple):
    """A channel of a file, or all of them.

    Attributes:
        path: The file.
        number: The number of the channel, from 1. 0 for the mean of all, whatever is in them.
    """

    path: Path
    number: int


Source = Path | BinaryIO | ChannelOf  # a path, an open file that can seek, or a channel

RATE = 44_100  # Hz
BLOCK_SAMPLES = 1 << 24  # largest number of samples in a block, of all channels, 64 MiB
EXAMINED_BLOCK = 1 << 20  # frames
REMEMBERED = 1 << 16  # files; a kilobyte each
TOLERANCE = 4608  # frames; the headers of lossy formats count what the encoder adds at the ends, four frames of MP3
SEGMENT = 4096  # frames of a spectrum


class Bound(NamedTuple):
    """What is too much to be decoded.

    Attributes:
        seconds: The longest sound.
        samples: The largest number of samples of all channels, here and at 44 100 Hz.
    """

    seconds: float = math.inf
    samples: float = math.inf

    def check(self, frames: int, rate: int, channels: int) -> None:
        """Check a number of frames.

        Raises:
            SoundError: If they are too many.
        """
        if frames > self.seconds * rate:
            raise SoundError(f"expected at most {self.seconds:g} seconds of sound, found {frames / rate:g} or more")
        if max(frames * channels, frames * RATE / rate) > self.samples:
            raise SoundError(
                f"is too long for a clip, or its header is wrong: {frames} samples or more in each of {channels} "
                f"channels at {rate} Hz"
            )


@dataclass(frozen=True)
class Recording:
    """What is known of a sound file.

    Attributes:
        rate: Samples per second and channel.
        channels: Number of channels.
        frames: Number of samples in each channel that can be heard.
        stated: Seconds that its header states, if it was cut short.
        notes: What was not used of it, and why: one line each, of what it is, a colon and details.
        mix: The channels that are used.
        exact: Whether one can go to any place in it. If not, it is decoded from the start.
        format: FFmpeg's name of its format, if FFmpeg reads it.
        samples: Where the samples are, if the header says so.
    """

    rate: int
    channels: int
    frames: int
    stated: float | None
    notes: tuple[str, ...]
    mix: Mix
    exact: bool
    format: str | None
    samples: Samples | None


@dataclass
class _Measured:
    """What was found while a stream was read to its end."""

    stream: Stream
    frames: int = 0
    kept: list[np.ndarray] = field(default_factory=list)
    mix: Mix = field(default_factory=lambda: Mix(()))
    high: float = 0.0  # share of the energy above what a rate of 44 100 Hz can hold


def examine(source: Source, *, bound: Bound = Bound()) -> Recording:  # noqa: B008 - a named tuple
    """Find out how to read a file whole. What was found is remembered until the file changes.

    Raises:
        SoundError: If it cannot be decoded, has no samples, or is longer than `bound`.
    """
    if isinstance(source, ChannelOf):
        return _with_channel(examine(source.path, bound=bound), source.number)
    if not isinstance(source, Path):
        if source not in _examined:
            _examined[source] = _examine(source, bound=bound)[0]
        return _examined[source]
    with open_source(source):  # says what is wrong if it cannot be
        state = source.stat()
    return _examine_path(source, state.st_size, state.st_mtime_ns, bound)


def count_frames(source: Source, *, bound: Bound) -> tuple[int, int]:
    """Return the number of samples in each channel of a file that can be heard, and its rate in Hz.

    Where the header leaves no doubt, nothing else is read of the file.

    Raises:
        SoundError: If it cannot be decoded, has no samples, or is longer than `bound`.
    """
    with open_source(source) as file:
        if (samples := find_samples(file)) and samples.size:
            with suppress(DecoderError), open_sndfile(file, samples) as sound:
                if sound.plain and sound.frames:
                    bound.check(sound.frames, sound.rate, sound.channels)
                    return sound.frames, sound.rate
    recording = examine(source, bound=bound)
    return recording.frames, recording.rate


def examine_and_read(path: Path, *, bound: Bound) -> tuple[Recording, np.ndarray]:
    """Do the same, and return all samples too: mono, float32, shape (samples,)."""
    with open_source(path) as file:
        recording, kept = _examine(file, bound=bound, keep=True)
    samples = kept[0] if len(kept) == 1 else np.concatenate(kept)
    return recording, to_mono(samples, recording.mix.channels)


def read_blocks(source: Source, recording: Recording, *, frames: int, first: int = 0) -> Iterator[np.ndarray]:
    """Read a file that was examined.

    Args:
        source: The file.
        recording: What is known of it.
        frames: Number of samples in a block.
        first: The first sample.

    Yields:
        Mono samples at the rate of the file, float32, shape (samples,).

    Raises:
        SoundError: If it cannot be decoded, which it could when it was examined, or if its samples are not sound.
    """
    with open_source(source) as file, _open(file, recording) as stream:
        if first and recording.exact:
            assert isinstance(stream, SndFile)
            stream.seek(first)
            first = 0
        for block in stream.blocks(max(1, min(frames, BLOCK_SAMPLES // recording.channels))):
            if first < len(block):
                yield to_mono(block[first:], recording.mix.channels)
            first = max(0, first - len(block))


@contextmanager
def open_source(source: Source) -> Iterator[BinaryIO]:
    """Open a path, or take a file that is open.

    Raises:
        SoundError: If the path cannot be opened, or is no file.
    """
    if isinstance(source, ChannelOf):
        source = source.path
    if not isinstance(source, Path):
        yield source
        return
    try:
        file = open_file(source).detach()  # without a buffer: libsndfile moves in it too, by its descriptor
        assert isinstance(file, FileIO)
        with file:
            yield file
    except OSError as error:
        check_machine(error)
        raise SoundError(f"cannot be read: {error.strerror}") from error


_examined: WeakKeyDictionary[BinaryIO, Recording] = WeakKeyDictionary()


@lru_cache(REMEMBERED)
def _examine_path(path: Path, size: int, modified: int, bound: Bound) -> Recording:
    with open_source(path) as file:
        return _examine(file, bound=bound)[0]


def _examine(file: BinaryIO, *, bound: Bound, keep: bool = False) -> tuple[Recording, list[np.ndarray]]:
    """Find out how to read a file, and read it if that takes reading it, or if its samples are wanted."""
    samples, format = find_samples(file), ffmpeg_format(file)
    walked = _walk(file) if format == "mp3" else Walk(True)
    refused = DecoderError("cannot be decoded: it is no sound file of a known format")
    if walked.clean and not (format is None and looks_like_mp3(file)):
        try:
            with open_sndfile(file, samples) as sound:
                if sound.frames is not None and sound.plain:
                    bound.check(sound.frames, sound.rate, sound.channels)
                if sound.certain and sound.channels == 1 and sound.rate <= RATE and not keep:
                    found = _Measured(sound, frames=sound.frames or 0, mix=Mix((0,)))
                else:
                    found = _read_through(sound, bound, keep, frames=sound.frames if sound.plain else None)
                if sound.plain or sound.has_read_all(found.frames, samples):
                    stated = _stated(found, samples, walked.stated)
                    cut = format == "ogg" and not has_last_page(file)
                    notes, stated = _notes(found, samples, stated, 0 if sound.plain else TOLERANCE, cut)
                    recording = _recording(found, stated, notes, exact=sound.exact, format=None, samples=samples)
                    return recording, found.kept
        except DecoderError as error:
            refused = error
    if format is None:
        raise refused
    with open_ffmpeg(file, format, ignore_size=samples is not None and samples.stated is None) as sound:
        found = _read_through(sound, bound, keep)
        notes, stated = _notes(
            found,
            samples,
            _stated(found, samples, walked.stated if sound.stated is None else sound.stated),
            0 if format == "flac" else TOLERANCE,
            walked.cut or (format == "ogg" and not has_last_page(file)),
        )
        if sound.damaged >= 0.005:
            notes.append(f"damaged: {sound.damaged:.2f} s could not be decoded and are silent")
        if sound.broken and stated is None:
            notes.append(f"cut short: what follows after {found.frames / sound.rate:.2f} s cannot be decoded")
        if sound.tracks > 1:
            notes.append(f"several tracks: the first of {sound.tracks} was used")
        return _recording(found, stated, notes, exact=False, format=format, samples=samples), found.kept


def _with_channel(recording: Recording, number: int) -> Recording:
    """Return a recording of which a channel is used that the user has chosen."""
    if number > recording.channels:
        raise SoundError(f"expected a channel {number}, found {pluralize(recording.channels, 'channel')}")
    channels = (number - 1,) if number else tuple(range(recording.channels))
    notes = tuple(note for note in recording.notes if note != recording.mix.note)
    return replace(recording, mix=Mix(channels), notes=notes)


def _walk(file: BinaryIO) -> Walk:
    first = first_frame(file, skip_id3(file))
    return Walk(False) if first is None else walk(file, first)


@contextmanager
def _open(file: BinaryIO, recording: Recording) -> Iterator[Stream]:
    """Open a file with the decoder that read it whole."""
    if recording.format is None:
        with open_sndfile(file, recording.samples) as sound:
            yield sound
    else:
        ignore_size = recording.samples is not None and recording.samples.stated is None
        with open_ffmpeg(file, recording.format, ignore_size=ignore_size) as sound:
            yield sound


def _read_through(stream: Stream, bound: Bound, keep: bool, *, frames: int | None = None) -> _Measured:
    """Read a stream to its end, and measure it."""
    found, meter = _Measured(stream), ChannelMeter(stream.channels)
    total = high = 0.0
    # What fits in memory is read at once, which is quicker.
    size = frames if frames and keep else max(1, min(EXAMINED_BLOCK, BLOCK_SAMPLES // stream.channels))
    for block in stream.blocks(size):
        found.frames += len(block)
        bound.check(found.frames, stream.rate, stream.channels)
        meter.add(block)
        if keep:
            found.kept.append(block)
        if stream.rate > RATE:
            powers = _powers(block)
            total += powers[1:].sum()
            high += powers[math.ceil(RATE / 2 / stream.rate * SEGMENT) :].sum()
    found.mix = meter.mix()
    found.high = high / total if total else 0.0
    return found


def _powers(block: np.ndarray) -> np.ndarray:
    """Return the power spectrum of some samples, over all channels, shape (SEGMENT // 2 + 1,)."""
    padded = np.pad(block, ((0, -len(block) % SEGMENT), (0, 0)))
    spectra = np.fft.rfft(padded.reshape(-1, SEGMENT, block.shape[1]) * np.hanning(SEGMENT)[:, None], axis=1)
    return np.square(np.abs(spectra)).sum(axis=(0, 2))


def _stated(found: _Measured, samples: Samples | None, otherwise: float | None) -> float | None:
    """Return how many seconds the header states: as many times what is there as its bytes are of those there."""
    if samples and samples.size and samples.stated:
        return found.frames / found.stream.rate * samples.stated / samples.size
    return otherwise


def _notes(
    found: _Measured, samples: Samples | None, stated: float | None, tolerance: int, cut: bool
) -> tuple[list[str], float | None]:
    """Return what was not used of a file, and how many seconds its header states if it was cut short."""
    seconds = found.frames / found.stream.rate
    notes = []
    if stated is not None and (stated - seconds) * found.stream.rate > max(tolerance, 0.5):
        notes.append(f"cut short: {seconds:.2f} of {stated:.2f} s stated")
    else:
        stated = None
        if cut:
            notes.append(f"cut short: its end is missing after {seconds:.2f} s")
    if samples and samples.size and (unread := samples.unread / samples.size * seconds) >= 0.005:
        notes.append(f"not read: {unread:.2f} s behind the end that its header states, which may be sound or not")
    if found.mix.note:
        notes.append(found.mix.note)
    if found.high > 0.5:
        notes.append(
            f"ultrasound: {found.high:.0%} of its energy lies above {RATE / 2000:g} kHz, where nothing is heard"
        )
    return notes, stated


def _recording(
    found: _Measured,
    stated: float | None,
    notes: list[str],
    *,
    exact: bool,
    format: str | None,
    samples: Samples | None,
) -> Recording:
    if not found.frames:
        raise SoundError("has no samples")
    stream = found.stream
    return Recording(
        stream.rate, stream.channels, found.frames, stated, tuple(notes), found.mix, exact, format, samples
    )
