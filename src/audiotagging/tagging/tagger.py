"""Tags any sound file with an ensemble: cuts files into pieces, and scores the pieces of many files at once."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

import numpy as np

from audiotagging.artifacts.acoustics import Acoustics
from audiotagging.artifacts.averaging import Averaging, average
from audiotagging.sounds.acoustics import AcousticMeter
from audiotagging.sounds.audio import RATE, SoundError, Source, decode_blocks, trim
from audiotagging.sounds.recordings import ChannelOf, examine
from audiotagging.sounds.spectrogram import SHORTEST, trimmed_spectrogram

PIECE = 60 * RATE  # samples; longer files are split into pieces of this length
SILENT = "silent: it has no tags"
BATCH_FRAMES = 16_384  # frames scored at once, about four minutes of sound

Found = TypeVar("Found")
Steps = Generator[None, None, np.ndarray]  # of a computation, after each of which it can be put off


@dataclass
class Tagged:
    """A file and its tags.

    Attributes:
        path: The file. "." for an open one.
        scores: Scores, higher for likelier classes, float32, shape (classes,). None if the file cannot be read.
        reason: Why the file cannot be read.
        member_scores: The scores of every member, shape (members, classes). None if the file cannot be read.
        acoustics: Its level, band and hum. None if the file cannot be read.
        notes: What was not used of it.
        silent: Whether there is nothing in it to tag.
    """

    path: Path
    scores: np.ndarray | None = None
    reason: str = ""
    member_scores: np.ndarray | None = None
    acoustics: Acoustics | None = None
    notes: tuple[str, ...] = ()
    silent: bool = False


@dataclass
class _File:
    """A file in progress: its pieces that are waiting to be scored, and the best scores of its other pieces."""

    path: Path
    pieces: list[np.ndarray] = field(default_factory=list)  # spectrograms, each (frames, 128)
    best: np.ndarray | float = -np.inf  # (members, classes)
    reason: str = ""
    meter: AcousticMeter = field(default_factory=AcousticMeter)
    notes: tuple[str, ...] = ()
    silent: bool = True


class Networks(Protocol):
    """The trained networks of an ensemble.

    Attributes:
        classes: The classes, in the order of the scores.
        members: Ids of the members, in the order of the scores.
        averaging: How the members are averaged, and what their average means.
    """

    classes: list[str]
    members: list[str]
    averaging: Averaging

    def version(self) -> str:
        """Return the version of the ensemble: 16 hexadecimal digits, which change with its scores."""

    def score(self, spectrograms: Sequence[np.ndarray]) -> np.ndarray:
        """Score spectrograms as the pipeline scores clips.

        Args:
            spectrograms: At least one, each uint8 and of shape (frames, 128).

        Returns:
            Scores of every member, averaged over its folds, float32, shape (members, spectrograms, classes).
        """

    def steps(self, spectrograms: Sequence[np.ndarray]) -> Steps:
        """Do the same in steps, and return the scores at the end."""


class Tagger:
    """An ensemble, ready to tag sound files. `audiotagging.tagging.loading` makes one.

    Attributes:
        networks: Its networks.
        classes: The classes, in the order of the scores.
        averaging: How the members are averaged, and what their average means.
    """

    def __init__(self, networks: Networks) -> None:
        self.networks = networks
        self.classes = networks.classes
        self.averaging = networks.averaging

    def tag(self, files: Iterable[Path | BinaryIO], *, channel: int | None = None) -> Iterator[Tagged]:
        """Yield the tags of every file, in order.

        A file of up to a minute gets the same scores as a clip in the pipeline. A longer file is split into pieces of a
        minute, so that memory use does not grow with its length, and the score of a class is its maximum over the
        pieces.

        Args:
            files: The files: paths, or open binary files, of which the channel cannot be chosen.
            channel: The channel to use, as in `recordings.ChannelOf`. None for those that are neither silent nor cancel
                each other.
        """
        waiting: deque[_File] = deque()
        for given in files:
            file = _File(given if isinstance(given, Path) else Path())
            waiting.append(file)
            source = ChannelOf(given, channel) if isinstance(given, Path) and channel is not None else given
            try:
                file.notes = examine(source).notes
                for spectrogram in piece_spectrograms(source, meter=file.meter):
                    file.pieces.append(spectrogram)
                    file.silent = file.silent and not spectrogram.any()
                    if _frames(waiting) >= BATCH_FRAMES:
                        self._score(waiting)
            except SoundError as error:
                file.reason = str(error)
                file.pieces.clear()
            while waiting and not waiting[0].pieces:
                yield self._finish(waiting.popleft())
        self._score(waiting)
        yield from map(self._finish, waiting)

    def score(self, spectrograms: Sequence[np.ndarray]) -> np.ndarray:
        """Score spectrograms as the pipeline scores clips.

        Args:
            spectrograms: At least one, each uint8 and of shape (frames, 128).

        Returns:
            Scores, higher for likelier classes, float32, shape (spectrograms, classes).
        """
        return self.average(self.networks.score(spectrograms))

    def average(self, scores: np.ndarray) -> np.ndarray:
        """Average the scores of the members, shape (members, clips, classes), as the ensemble does."""
        weights = np.array([self.averaging.weights[member] for member in self.networks.members])
        return average(scores, mean=self.averaging.mean, weights=weights)

    def _score(self, files: Iterable[_File]) -> None:
        """Score all waiting pieces, and release their memory."""
        pieces = [(file, piece) for file in files for piece in file.pieces]
        if not pieces:
            return
        scores = self.networks.score([piece for _, piece in pieces]).swapaxes(0, 1)
        for (file, _), piece_scores in zip(pieces, scores, strict=True):
            file.best = np.maximum(file.best, piece_scores)
        for file in files:
            file.pieces.clear()

    def _finish(self, file: _File) -> Tagged:
        if file.reason:
            return Tagged(file.path, reason=file.reason)
        assert isinstance(file.best, np.ndarray)
        scores = self.average(file.best[:, None])[0]
        return Tagged(
            file.path,
            scores,
            member_scores=file.best,
            acoustics=file.meter.measure(),
            notes=(*file.notes, SILENT) if file.silent else file.notes,
            silent=file.silent,
        )


def finish(steps: Steps) -> np.ndarray:
    """Take all steps of a computation, and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def _frames(files: Iterable[_File]) -> int:
    return sum(len(piece) for file in files for piece in file.pieces)


def in_batches(
    found: Iterable[Found], *, frames: Callable[[Found], int], most: int = BATCH_FRAMES
) -> Iterator[list[Found]]:
    """Yield what is found in lists of as many as are scored at once.

    Args:
        found: Anything with a spectrogram.
        frames: Returns the number of its frames.
        most: A list ends with the spectrogram that makes it so many frames.
    """
    batch: list[Found] = []
    total = 0
    for each in found:
        batch.append(each)
        total += frames(each)
        if total >= most:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def piece_spectrograms(source: Source, *, meter: AcousticMeter | None = None) -> Iterator[np.ndarray]:
    """Yield the spectrograms of a file's pieces, each uint8 and of shape (frames, 128). Skip silent later pieces.

    Args:
        source: The file.
        meter: What measures the pieces, without the silence at their ends, if they are to be measured.
    """
    for number, samples in enumerate(_pieces(source)):
        heard = trim(samples)
        if meter:
            meter.add(heard)
        spectrogram = trimmed_spectrogram(heard)
        if number == 0 or spectrogram.any():
            yield spectrogram


def _pieces(source: Source) -> Iterator[np.ndarray]:
    """Yield a file's samples in pieces of a minute. The last piece can be two seconds longer, to avoid tiny pieces."""
    waiting = np.empty(0, np.float32)
    for block in decode_blocks(source):
        waiting = np.concatenate([waiting, block])
        while len(waiting) >= PIECE + SHORTEST:
            yield waiting[:PIECE]
            waiting = waiting[PIECE:]
    yield waiting
