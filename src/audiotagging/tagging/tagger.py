"""Tags any sound file with the ensemble of a finished run.

This is the only module that needs both the audio packages and torch. No stage imports it.
"""

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np

from audiotagging.artifacts.ensemble_folder import AVERAGING, Averaging, read_averaging
from audiotagging.artifacts.model_folder import model_folders
from audiotagging.data.audio import RATE, SoundError, decode_blocks
from audiotagging.data.spectrogram import SHORTEST, clip_spectrogram
from audiotagging.errors import UserError
from audiotagging.results.ensembling import average
from audiotagging.training.prediction import Model, load_model, score_clips

logger = logging.getLogger(__name__)

PIECE = 60 * RATE  # samples; longer files are split into pieces of this length
BATCH_FRAMES = 16_384  # frames scored at once, about four minutes of sound


@dataclass
class Tagged:
    """A file and its tags.

    Attributes:
        path: The file.
        scores: Scores, higher for likelier classes, float32, shape (classes,). None if the file cannot be read.
        reason: Why the file cannot be read.
    """

    path: Path
    scores: np.ndarray | None = None
    reason: str = ""


@dataclass
class _File:
    """A file in progress: its pieces that are waiting to be scored, and the best scores of its other pieces."""

    path: Path
    pieces: list[np.ndarray] = field(default_factory=list)  # spectrograms, each (frames, 128)
    best: np.ndarray | float = -np.inf  # (members, classes)
    reason: str = ""


class Tagger:
    """The ensemble of a run, ready to tag sound files.

    Attributes:
        classes: The classes, in the order of the scores.
        averaging: How the members are averaged, and what their average means.
        sources: The folders and files that determine the scores.
    """

    def __init__(self, run: Path) -> None:
        """Load the models of a run and the settings of its average.

        Args:
            run: The output folder of a run, or its folder `models`.

        Raises:
            UserError: If there is no such folder or no model in it, if the classes of the models differ, or if
                `ensemble.json` averages other models.
        """
        if not run.is_dir():
            raise UserError(
                f"{run}: expected the output of a run, found no folder there; `audiotagging run --out OUT` makes one"
            )
        folder = run / "models" if (run / "models").is_dir() else run
        paths = model_folders(folder)
        models = [load_model(path) for path in paths]
        if not models:
            raise UserError(
                f"{folder}: expected the output of a run or its folder `models`, found no model in it; name another"
            )
        self.classes = models[0].classes
        for model in models:
            if model.classes != self.classes:
                raise UserError(
                    f"{folder}: expected models with the same classes, found different classes in "
                    f"{models[0].member.id} and {model.member.id}; keep only the models of one run in this folder"
                )
        models.sort(key=lambda model: model.member.id)
        self._members = {name: list(folds) for name, folds in groupby(models, key=lambda model: model.member.id)}
        self.averaging = _averaging(folder, list(self._members), self.classes, may_be_missing=folder == run)
        self.sources = [*paths, *(path for path in [folder.parent / AVERAGING] if path.exists())]

    def tag(self, paths: Iterable[Path]) -> Iterator[Tagged]:
        """Yield the tags of every file, in order.

        A file of up to a minute gets the same scores as a clip in the pipeline. A longer file is split into pieces of a
        minute, so that memory use does not grow with its length, and the score of a class is its maximum over the
        pieces.
        """
        waiting: deque[_File] = deque()
        for path in paths:
            file = _File(path)
            waiting.append(file)
            try:
                for spectrogram in _spectrograms(path):
                    file.pieces.append(spectrogram)
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
        return self._average(self._score_members(spectrograms))

    def _score(self, files: Iterable[_File]) -> None:
        """Score all waiting pieces, and release their memory."""
        pieces = [(file, piece) for file in files for piece in file.pieces]
        if not pieces:
            return
        scores = self._score_members([piece for _, piece in pieces]).swapaxes(0, 1)
        for (file, _), piece_scores in zip(pieces, scores, strict=True):
            file.best = np.maximum(file.best, piece_scores)
        for file in files:
            file.pieces.clear()

    def _score_members(self, spectrograms: Sequence[np.ndarray]) -> np.ndarray:
        """Return the scores of every member, shape (members, spectrograms, classes)."""
        frames = np.concatenate(spectrograms)
        offsets = np.concatenate([[0], np.cumsum([len(each) for each in spectrograms])])
        return np.stack([self._score_member(folds, frames, offsets) for folds in self._members.values()])

    @staticmethod
    def _score_member(folds: list[Model], frames: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        return np.mean([score_clips(model, frames, offsets, label=None) for model in folds], axis=0)

    def _finish(self, file: _File) -> Tagged:
        if file.reason:
            return Tagged(file.path, reason=file.reason)
        assert isinstance(file.best, np.ndarray)
        return Tagged(file.path, self._average(file.best[:, None])[0])

    def _average(self, scores: np.ndarray) -> np.ndarray:
        """Average the scores of the members, shape (members, clips, classes), as the ensemble does."""
        weights = np.array([self.averaging.weights[member] for member in self._members])
        return average(scores, mean=self.averaging.mean, weights=weights)


def _averaging(folder: Path, members: list[str], classes: list[str], *, may_be_missing: bool) -> Averaging:
    """Return how the members are averaged: as in the `ensemble.json` beside the folder.

    The folder of the models may have been copied without it. Then all members weigh the same.
    """
    try:
        averaging = read_averaging(folder.parent, classes=classes)
    except FileNotFoundError:
        if not may_be_missing:
            raise
        logger.info("%s: there is no %s beside it, so all members weigh the same", folder, AVERAGING)
        return Averaging("arithmetic", dict.fromkeys(members, 1 / len(members)))
    if set(averaging.weights) != set(members):
        raise UserError(
            f"{folder}: expected models of {', '.join(averaging.weights)}, which {folder.parent / AVERAGING} averages, "
            f"found models of {', '.join(members)}; restore the models of that run"
        )
    return averaging


def _frames(files: Iterable[_File]) -> int:
    return sum(len(piece) for file in files for piece in file.pieces)


def _spectrograms(path: Path) -> Iterator[np.ndarray]:
    """Yield the spectrograms of a file's pieces, each uint8 and of shape (frames, 128). Skip silent later pieces."""
    for number, samples in enumerate(_pieces(path)):
        spectrogram = clip_spectrogram(samples)
        if number == 0 or spectrogram.any():
            yield spectrogram


def _pieces(path: Path) -> Iterator[np.ndarray]:
    """Yield a file's samples in pieces of a minute. The last piece can be two seconds longer, to avoid tiny pieces."""
    waiting = np.empty(0, np.float32)
    for block in decode_blocks(path):
        waiting = np.concatenate([waiting, block])
        while len(waiting) >= PIECE + SHORTEST:
            yield waiting[:PIECE]
            waiting = waiting[PIECE:]
    yield waiting
