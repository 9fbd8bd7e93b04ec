"""Reads sound files with FFmpeg's libraries, through PyAV: what libsndfile does not read, or not to the end.

Files may come from strangers. The format is chosen by the content (`sound_formats.ffmpeg_format`), only decoders of
sound are used, and no other file and no address is opened, whatever the file names.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
import soxr

from audiotagging.base.machine import check_machine
from audiotagging.sounds.file_part import FilePart
from audiotagging.sounds.ogg_pages import links
from audiotagging.sounds.streams import DecoderError, SoundError, check_head, check_values

# Decoders of sound. "pcm_" and "adpcm_" stand for all of these.
DECODERS = (
    *("aac", "aac_latm", "ac3", "alac", "amrnb", "amrwb", "ape", "dsd_lsbf", "dsd_lsbf_planar", "dsd_msbf"),
    *("dsd_msbf_planar", "dst", "eac3", "flac", "gsm", "gsm_ms", "mp1", "mp1float", "mp2", "mp2float", "mp3"),
    *("mp3float", "mpc7", "mpc8", "opus", "speex", "tak", "tta", "vorbis", "wavpack", "wmalossless", "wmapro"),
    *("wmav1", "wmav2", "wmavoice"),
)
# Formats whose header says how long the sound is.
STATES_LENGTH = ("mov", "matroska", "asf", "avi", "wv", "ape", "tta", "tak", "mpc", "mpc8", "flac", "dsf", "iff")
CHECKED = ("flac", "tak", "tta", "wavpack")  # decoders that can tell by a checksum whether a packet is damaged
KINDS = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "s64": np.int64, "flt": np.float32, "dbl": np.float64}
DAMAGED = "its content is damaged, or it is no sound"
LONGEST_GAP = 60.0  # seconds; a corrupt time of a packet can claim any
MOST_FAILED = 200  # packets that may fail, more than can be decoded
# Seconds by which the time of a frame may be off. Encoders write times of Ogg pages that are half a block late, ASF has
# a step of 50 ms; what is lost of these is a page or a packet, which is longer.
INEXACT = {"ogg": 0.03, "asf": 0.1}
COARSE, FINE = 0.03, 0.015  # in other formats: where times are in milliseconds, and where they are not


class FFmpegFile:
    """A file that FFmpeg reads. `open_ffmpeg` opens one.

    Attributes:
        rate: Samples per second and channel. What has another rate later in the file is resampled.
        channels: Number of channels.
        stated: Seconds that the header states. None if it states nothing.
        damaged: Seconds that could not be decoded so far. They are silent, so that later sounds keep their times.
        broken: Whether the file could not be read to its end.
        tracks: Number of tracks with sound. The first one is read.
    """

    def __init__(self, container: Any, format: str, later: Sequence[FilePart]) -> None:
        """Take what is open.

        Args:
            container: PyAV's container.
            format: FFmpeg's name of its format.
            later: The other links of a chained Ogg file.
        """
        self._container, self._format, self._later = container, format, later
        self._stream = stream = _first_track(container)
        self.rate, self.channels = stream.codec_context.sample_rate, stream.codec_context.channels
        self.damaged, self.broken = 0.0, False
        self.tracks = len(container.streams.audio)
        self.stated = None
        if format in STATES_LENGTH:
            if stream.duration:
                self.stated = float(stream.duration * stream.time_base)
            elif container.duration:
                self.stated = container.duration / 1e6

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        """Yield the samples, float32, shape (up to `frames`, channels), full scale being 1.

        Raises:
            DecoderError: If nothing can be decoded.
            SoundError: If it is not sound, such as NaN.
        """
        waiting: list[np.ndarray] = []
        count = 0
        for samples in self._samples():
            for start in range(0, len(samples), frames):
                piece = samples[start : start + frames]
                if count + len(piece) > frames:
                    yield np.concatenate(waiting)
                    waiting, count = [], 0
                waiting.append(piece)
                count += len(piece)
        if waiting:
            yield np.concatenate(waiting)

    def _samples(self) -> Iterator[np.ndarray]:
        """Yield samples at the rate and with the channels of the file, with silence in place of what is missing."""
        resampler: soxr.ResampleStream | None = None
        present, done = self.rate, 0  # the rate of the last frame; frames yielded
        zero: float | None = None  # time of the first sample, in seconds
        fine = self._stream.time_base.denominator > 1000
        tolerance = INEXACT.get(self._format, FINE if fine else COARSE)
        failed = decoded = 0
        for packet, joined in self._packets():
            if joined:
                zero = None
            frames, error = _decode(packet)
            if error and _is_head(packet):  # of an MP3 that was joined to another: no sound
                zero = None
                continue
            failed, decoded = failed + error, decoded + len(frames)
            if failed > MOST_FAILED + decoded:
                self.broken = True
                break
            for frame in frames:
                samples = _to_float(frame)
                if samples.shape[1] != self.channels:
                    samples = _with_channels(samples, self.channels)
                if frame.sample_rate != present:
                    check_head(frame.sample_rate, self.channels)
                    if resampler:
                        done += len(rest := resampler.resample_chunk(_nothing(self.channels), last=True))
                        yield rest
                    present, resampler = frame.sample_rate, None
                    if present != self.rate:
                        resampler = soxr.ResampleStream(present, self.rate, self.channels, dtype="float32")
                time = None if frame.pts is None else float(frame.pts * frame.time_base)
                if time is not None and not resampler:
                    gap = 0.0 if zero is None else time - zero - done / self.rate
                    if tolerance < gap <= LONGEST_GAP:
                        self.damaged += gap
                        done += (missing := round(gap * self.rate))
                        yield np.zeros((missing, self.channels), np.float32)
                    else:  # the first one, a file that was joined to the one before, or a clock that drifts
                        zero = time - done / self.rate
                if resampler:
                    samples = resampler.resample_chunk(np.ascontiguousarray(samples))
                done += len(samples)
                yield samples
        if resampler:
            yield resampler.resample_chunk(_nothing(self.channels), last=True)
        if not done:
            raise DecoderError("cannot be decoded: nothing in it can be decoded")

    def _packets(self) -> Iterator[tuple[Any, bool]]:
        """Yield all packets, and whether they are the first one of a link."""
        try:
            first = False
            for packet in self._container.demux(self._stream):
                yield packet, False
            for link in self._later:
                with _open(link, self._format, {}) as container:
                    first = True
                    for packet in container.demux(_first_track(container)):
                        yield packet, first
                        first = False
        except (_library().FFmpegError, DecoderError) as error:
            check_machine(error)
            self.broken = True


@contextmanager
def open_ffmpeg(file: BinaryIO, format: str, *, ignore_size: bool = False) -> Iterator[FFmpegFile]:
    """Open a file.

    Args:
        file: The file.
        format: FFmpeg's name of its format.
        ignore_size: Whether the samples reach to the end of a WAV file whatever its header says.

    Raises:
        DecoderError: If it cannot be decoded.
        SoundError: If its rate or its channels are impossible, or if PyAV is not installed.
    """
    parts = [FilePart(file)]
    if format == "ogg":
        parts = [FilePart(file, offset, size) for offset, size in links(file)]
    with _open(parts[0], format, {"ignore_length": "1"} if ignore_size else {}) as container:
        yield FFmpegFile(container, format, parts[1:])


def _open(part: FilePart, format: str, options: dict[str, str]) -> Any:
    """Return PyAV's container of a file."""
    av = _library()
    options = options | {"protocol_whitelist": "", "codec_whitelist": _decoders()}
    try:
        return av.open(part, format=format, options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        check_machine(error)
        reason = "its index is missing, as if its recording was interrupted" if format == "mov" else DAMAGED
        raise DecoderError(f"cannot be decoded: {reason}") from error


def _first_track(container: Any) -> Any:
    """Return the first track with sound of a container."""
    if not container.streams.audio:
        raise DecoderError("cannot be decoded: it has no sound")
    stream = container.streams.audio[0]
    codec = stream.codec_context
    if codec is None or codec.name not in _decoders().split(","):
        name = f" ({codec.name})" if codec else ""
        raise DecoderError(f"cannot be decoded: its sound has a format that is not read{name}")
    check_head(codec.sample_rate, codec.channels)
    codec.thread_count = 1  # others tag or decode at the same time
    if codec.name in CHECKED:
        codec.options = {"err_detect": "crccheck+explode"}
    return stream


def load_libraries() -> None:
    """Import PyAV now, if it is there, and find out what it can decode, so that no file has to wait for that."""
    with suppress(SoundError):
        _decoders()


@cache
def _library() -> ModuleType:
    """Import PyAV, only when a file needs it: it takes a tenth of a second, and may not be there."""
    try:
        import av
        import av.logging
    except ModuleNotFoundError:
        raise SoundError(
            "cannot be decoded: it needs FFmpeg's libraries; install them with `pip install av`, or convert it to WAV"
        ) from None
    av.logging.set_level(None)  # what goes wrong is said in our words
    return av


@cache
def _decoders() -> str:
    more = [name for name in _library().codecs_available if name.startswith(("pcm_", "adpcm_"))]
    return ",".join([*DECODERS, *sorted(more)])


def _decode(packet: Any) -> tuple[list[Any], bool]:
    """Decode a packet. Return its frames, and whether it failed."""
    try:
        return packet.decode(), False
    except _library().FFmpegError as error:
        check_machine(error)
        return [], True


def _is_head(packet: Any) -> bool:
    """Return whether a packet is a tag, or the first frame of an MP3, which states the number of the others."""
    head = bytes(packet)[:40]
    return head.startswith(b"ID3") or any(mark in head for mark in (b"Xing", b"Info", b"VBRI"))


def _to_float(frame: Any) -> np.ndarray:
    """Return the samples of a frame, float32, shape (samples, channels)."""
    planar, channels, kind = (
        frame.format.is_planar,
        frame.layout.nb_channels,
        KINDS[frame.format.name.removesuffix("p")],
    )
    # Of eight channels or more, PyAV finds more planes than there are, and its `to_ndarray` reads them all.
    planes = frame.planes[: channels if planar else 1]
    size = frame.samples if planar else frame.samples * channels
    samples = np.stack([np.frombuffer(plane, kind, size) for plane in planes])  # (planes, size)
    samples = samples.T if planar else samples.reshape(-1, channels)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if np.issubdtype(samples.dtype, np.integer):
        return (samples * 2.0 ** (1 - 8 * samples.dtype.itemsize)).astype(np.float32)
    check_values(samples)
    return samples.astype(np.float32)


def _with_channels(samples: np.ndarray, channels: int) -> np.ndarray:
    """Return samples with another number of channels: the mean of theirs in each."""
    return np.repeat(samples.mean(axis=1, keepdims=True), channels, axis=1)


def _nothing(channels: int) -> np.ndarray:
    return np.empty((0, channels), np.float32)
