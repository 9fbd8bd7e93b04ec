"""Checks the spectrograms of random clips against librosa, which defines what they must be.

While the workers process all clips, a process of its own decodes, trims and transforms these by librosa. A difference
beyond rounding is a defect of this program, or a fault of a library or of the processor. Nothing is written then.

librosa transforms with numpy's FFT here, because the workers use scipy's: a fault of either is seen.
"""

import contextlib
import importlib.util
import math
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import soundfile
from threadpoolctl import threadpool_info, threadpool_limits

from audiotagging.artifacts.verified import Verified
from audiotagging.base.errors import UserError
from audiotagging.base.machine import check_machine, processor_name
from audiotagging.base.processes import CONTEXT, end_with_parent
from audiotagging.sounds.audio import CLIP, RATE, SoundError, decode
from audiotagging.sounds.spectrogram import pad, to_bytes

# What rounding may change: levels of a pixel, and the share of the pixels of all checked clips. It is not of each clip,
# because all frames of a steady tone are equal, so that rounding moves the same pixel of every frame.
LEVELS, SHARE = 1, 1e-3
ALIKE = {"mixed to mono", "resampled", "cut short", "ultrasound"}  # repairs that librosa makes too
# Samples that libsndfile finds at any place. In other formats, a piece depends on what was decoded before it.
SEEKABLE = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")


# What librosa takes from its compiler at import. The functions that are called here use none of what it compiles.
DECORATORS = ("jit", "stencil", "guvectorize", "vectorize")


class WrongSpectrogramError(Exception):
    """Raised if a spectrogram is not librosa's. That is a defect, or a fault of the machine, but not the user's."""


class Drawn(NamedTuple):
    """A clip to check: its name, and its file or a piece of it, from `start` to `end` in seconds."""

    clip: str
    path: str
    start: float
    end: float


class Expected(NamedTuple):
    """The spectrogram of a clip by librosa, uint8, shape (frames, 128), and whether `decode` decoded the samples."""

    spectrogram: np.ndarray
    decoded_by_us: bool


class Verification:
    """A check in progress, or none if no clips were drawn."""

    def __init__(self, drawn: Mapping[int, Drawn], answers: Connection) -> None:
        """Start without spectrograms.

        Args:
            drawn: The drawn clips by their places in the table of clips.
            answers: Where the process of `_answer` sends its answer.
        """
        self._drawn = drawn
        self._answers = answers
        self._found: dict[int, np.ndarray] = {}

    def take(self, place: int, spectrogram: np.ndarray) -> None:
        """Take the spectrogram of a clip. Only those of drawn clips are kept."""
        if place in self._drawn:
            self._found[place] = spectrogram

    def finish(self, *, clips: int) -> Verified | None:
        """Wait for librosa's spectrograms, and compare.

        Args:
            clips: Number of clips that can be used.

        Returns:
            What was checked, or None if no clips were drawn.

        Raises:
            WrongSpectrogramError: If they differ by more than rounding.
            UserError: If the process was killed.
        """
        if not self._drawn:
            return None
        try:
            answer = self._answers.recv()
        except EOFError:
            raise UserError(
                "the process that computes spectrograms by librosa was killed, most likely because memory ran out; "
                "use a machine with more memory, or --verify 0"
            ) from None
        if isinstance(answer, Exception):
            raise answer
        expected, libraries = answer
        compared = [place for place in self._found if place in expected]
        pixels = {place: self._found[place].size for place in compared}
        moved = {}  # pixels one level off
        for place in compared:
            moved[place], fault = _compare(self._found[place], expected[place].spectrogram)
            if fault:
                raise _wrong(self._drawn[place], fault, libraries)
        different = sum(moved.values()) / max(1, sum(pixels.values()))
        if different > SHARE:
            worst = max(compared, key=lambda place: moved[place] / pixels[place])
            fault = f"{moved[worst] / pixels[worst]:.2%} of its pixels one level off, and {different:.2%} of all"
            raise _wrong(self._drawn[worst], fault, libraries)
        return Verified(
            checked=len(compared),
            clips=clips,
            decoded_by_us=sum(expected[place].decoded_by_us for place in compared),
            different=different,
            processor=processor_name(),
            libraries=libraries,
        )


@contextlib.contextmanager
def verifying(clips: pd.DataFrame, *, count: int, fingerprint: str) -> Iterator[Verification]:
    """Let a process of its own compute the spectrograms of random clips by librosa, until the block ends.

    Args:
        clips: One row per clip, with at least `clip`, `path`, `start` and `end`.
        count: How many clips to draw. 0 for no check.
        fingerprint: Fingerprint of the data, the seed of the draw.

    Raises:
        UserError: If librosa is not installed.
    """
    if count and importlib.util.find_spec("librosa") is None:
        raise UserError(
            f"--verify {count}: expected the package librosa, found that it is not installed; "
            "install it (pip install librosa), or check nothing (--verify 0)"
        )
    drawn = draw(clips, count=count, fingerprint=fingerprint)
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_answer, args=(sender, drawn), daemon=True)
    if drawn:
        process.start()
    sender.close()  # so that the end of the process is the end of its answers
    try:
        yield Verification(drawn, receiver)
    finally:
        if drawn:
            process.kill()
            process.join()
        receiver.close()


def draw(clips: pd.DataFrame, *, count: int, fingerprint: str) -> dict[int, Drawn]:
    """Return random clips by their places in the table. The same data always give the same ones."""
    places = sorted(Random(fingerprint).sample(range(len(clips)), min(count, len(clips))))
    rows = clips.iloc[places][["clip", "path", "start", "end"]].itertuples(index=False)
    return {place: Drawn(*row) for place, row in zip(places, rows, strict=True)}


def librosa_spectrogram(path: Path, *, start: float, end: float) -> Expected:
    """Compute the spectrogram of a sound file or a piece of it by librosa.

    Only the padding of short clips and the scaling to bytes are this program's, because librosa has neither.

    Raises:
        SoundError: If the clip cannot be used.
    """
    import librosa

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that librosa 1.0 will not have this function
        librosa.set_fftlib(np.fft)
    decoded = decode(path, start=start, end=end)
    is_alike = decoded.recording.format is None and ALIKE.issuperset(decoded.repairs)  # FFmpeg decoded other formats
    samples = _load(path, start, end) if is_alike else None
    decoded_by_us = samples is None or len(samples) < len(decoded.samples)
    if samples is None or decoded_by_us:  # libsndfile, with which librosa decodes, cannot read the file to its end
        samples = decoded.samples
    trimmed, _ = librosa.effects.trim(samples, top_db=60)
    mel = librosa.feature.melspectrogram(
        y=pad(trimmed), sr=RATE, n_fft=2560, hop_length=694, n_mels=128, fmin=20, fmax=22_050, pad_mode="reflect"
    )
    return Expected(to_bytes(librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=80.0).T), decoded_by_us)


def _load(path: Path, start: float, end: float) -> np.ndarray | None:
    """Decode a sound file or a piece of it by librosa, or return None if that cannot give the same samples."""
    import librosa

    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            if start and not file.subtype.startswith(SEEKABLE):
                return None
            first = round(start * file.samplerate)
            frames = round(min(end * file.samplerate, file.frames)) - first
            if not 0 < frames <= CLIP.samples:  # what the header of an unfinished file says
                return None
            # librosa rounds down to samples: half a sample more makes the sample certain.
            piece = {"offset": (first + 0.5) / file.samplerate, "duration": (frames + 0.5) / file.samplerate}
            samples, _ = librosa.load(file, sr=RATE, mono=True, **(piece if start or end < math.inf else {}))
            return samples
    except soundfile.LibsndfileError as error:
        check_machine(error)
        return None


def _answer(answers: Connection, drawn: Mapping[int, Drawn]) -> None:
    """Send librosa's spectrograms of the clips that can be used, or the exception that kept it from them."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal, for all processes: the parent ends this one
    _replace_numba()
    try:
        with threadpool_limits(1):
            answers.send((_compute(drawn), _libraries()))
    except Exception as error:
        error.add_note(traceback.format_exc())
        answers.send(error)


def _replace_numba() -> None:
    """Let librosa leave its functions as they are, in this process.

    Otherwise its import would compile some of them in each new container (18 s), and fail where it finds no folder to
    keep them in; and the image would be 190 MB larger.
    """

    def decorate(*given: Any, **_: Any) -> Any:
        return given[0] if given and callable(given[0]) else lambda function: function

    stand_in = ModuleType("numba")
    vars(stand_in).update(dict.fromkeys(DECORATORS, decorate))
    sys.modules.setdefault("numba", stand_in)


def _compute(drawn: Mapping[int, Drawn]) -> dict[int, Expected]:
    expected = {}
    for place, (_, path, start, end) in drawn.items():
        with contextlib.suppress(SoundError):  # the stage rejects it too
            expected[place] = librosa_spectrogram(Path(path), start=start, end=end)
    return expected


def _libraries() -> dict[str, str]:
    """Return the versions of the libraries that compute spectrograms."""
    versions = {name: version(name) for name in ("librosa", "numpy", "scipy", "soxr")}
    versions["libsndfile"] = soundfile.__libsndfile_version__
    blas: dict[str, set[str]] = {}  # for the products of matrices; numpy and scipy have one each
    for library in threadpool_info():
        if library["user_api"] == "blas":
            found = " ".join(filter(None, [library["version"], library.get("architecture")]))
            blas.setdefault(library["internal_api"], set()).add(found)
    return versions | {name: " and ".join(sorted(found)) for name, found in blas.items()}


def _compare(found: np.ndarray, expected: np.ndarray) -> tuple[int, str]:
    """Return how many pixels are one level off, and a fault if there is more than that."""
    if found.shape != expected.shape:
        return 0, f"{len(found)} frames instead of {len(expected)}"
    levels = np.abs(found.astype(np.int16) - expected)
    fault = f"{(levels > 0).mean():.2%} of its pixels off by up to {levels.max()} levels of 256"
    return int((levels > 0).sum()), fault if levels.max() > LEVELS else ""


def _wrong(drawn: Drawn, fault: str, libraries: Mapping[str, str]) -> WrongSpectrogramError:
    versions = ", ".join(f"{name} {version}" for name, version in libraries.items())
    return WrongSpectrogramError(
        f"{drawn.clip}: expected the spectrogram that librosa computes, found {fault}, on {processor_name()} with "
        f"{versions}; nothing was written"
    )
