"""Tags what was sent, as the command `tag` does: decodes it in threads, and scores it together with other requests."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from audiotagging.data.recordings import Recording, examine
from audiotagging.data.sound_streams import SoundError
from audiotagging.machine import threads
from audiotagging.serving.limits import Limits, RefusedError, Room
from audiotagging.serving.metrics import Metrics
from audiotagging.serving.options import Options
from audiotagging.serving.reloading import Loaded, Models
from audiotagging.serving.scoring import Scorer
from audiotagging.serving.uploads import Upload
from audiotagging.tagging.choice import Choose, choice
from audiotagging.tagging.formats import as_row
from audiotagging.tagging.tagger import SILENT, in_batches, piece_spectrograms
from audiotagging.tagging.windows import Tag, count_windows, merge, window_batches

Result = TypeVar("Result")


class Answer(NamedTuple):
    """What is answered about sounds.

    Attributes:
        rows: The rows that the command `tag` prints as JSON.
        notes: What was not used of the sounds. Each begins with the number of the sound in the request.
    """

    rows: list[dict[str, Any]]
    notes: list[str]


class Service:
    """The models, and everything that requests share.

    Attributes:
        limits: What it takes on.
        memory: Bytes of uploads that are in memory.
        queue: Sounds in progress.
        metrics: Its metrics.
        models: The models.
        ending: Whether the server is about to end.
    """

    def __init__(self, models: Path, limits: Limits) -> None:
        """Load the models, and start the threads.

        Raises:
            UserError: If there are no models, or if they are corrupt.
        """
        self.limits = limits
        self.memory, self.queue = Room(limits.memory), Room(limits.queue)
        self.metrics = Metrics(queue=self.queue, memory=self.memory)
        self.ending = False
        self.models = Models(models, changed=self._show_models)
        self._scorer = Scorer(report=self.metrics.batches.observe)
        self._decoders = ThreadPoolExecutor(threads(), thread_name_prefix="decoder")

    @property
    def alive(self) -> bool:
        """Whether it can score."""
        return self._scorer.alive

    def close(self) -> None:
        """Finish what is in progress, and end the threads."""
        self.models.close()
        self._decoders.shutdown()
        self._scorer.close()

    def _show_models(self, models: Models) -> None:
        self.metrics.model.clear()
        self.metrics.model.labels(models.current.version).set(1)
        self.metrics.refused.set(bool(models.refused))

    async def tag(self, sounds: Sequence[Upload], options: Options, loaded: Loaded) -> Answer:
        """Tag sounds.

        Args:
            sounds: The sounds.
            options: What to answer.
            loaded: The models.

        Returns:
            The rows that the command `tag` prints as JSON, one per sound, or one per tag of a window, and its notes.

        Raises:
            RefusedError: If one of them is not a sound, or if it is too long.
        """
        tagger = loaded.tagger
        choose = choice(tagger.classes, tagger.averaging, top=options.top, precision=options.precision)
        results = await asyncio.gather(
            *(self._tag(sound, options, loaded, choose) for sound in sounds), return_exceptions=True
        )
        answer = Answer([], [])
        for number, (sound, result) in enumerate(zip(sounds, results, strict=True), 1):
            if isinstance(result, SoundError | RefusedError):
                raise RefusedError(422, f"{sound.name or 'a file without a name'}: {result}") from result
            if isinstance(result, BaseException):
                raise result
            answer.rows.extend(result.rows)
            answer.notes.extend(f"{number}: {note}" for note in result.notes)
        return answer

    async def _tag(self, sound: Upload, options: Options, loaded: Loaded, choose: Choose) -> Answer:
        recording = await self._in_thread(partial(_measure, sound, options, self.limits))
        self.metrics.sounds.observe(recording.frames / recording.rate)
        notes = list(recording.notes)
        if options.every is not None:
            return Answer(await self._tag_windows(sound, options, loaded, choose), notes)
        row, silent = await self._tag_whole(sound, loaded, choose)
        return Answer([row], [*notes, SILENT] if silent else notes)

    async def _tag_whole(self, sound: Upload, loaded: Loaded, choose: Choose) -> tuple[dict[str, Any], bool]:
        """Return the row of a sound, and whether it is silent."""
        best: np.ndarray | float = -np.inf  # (members, classes)
        silent = True
        batches = in_batches(piece_spectrograms(sound.file), frames=len)
        while batch := await self._next(batches):
            best = np.maximum(best, (await self._score(loaded, batch)).max(axis=1))
            silent = silent and not any(spectrogram.any() for spectrogram in batch)
        assert isinstance(best, np.ndarray)
        (scores,) = loaded.tagger.average(best[:, None])
        tags = [] if silent else choose(scores)
        self._count(tags[:1])
        return {"file": sound.name, "tags": [{"label": label, "score": score} for label, score in tags]}, silent

    async def _tag_windows(
        self, sound: Upload, options: Options, loaded: Loaded, choose: Choose
    ) -> list[dict[str, Any]]:
        assert options.every is not None
        tags: list[Tag] = []
        batches = window_batches(sound.file, every=options.every, overlap=options.overlap)
        while batch := await self._next(batches):
            members = await self._score(loaded, [spectrogram for *_, spectrogram in batch])
            chosen = await self._in_thread(partial(_choose_all, choose, loaded.tagger.average(members)))
            for (start, end, _), found in zip(batch, chosen, strict=True):
                tags += [Tag(start, end, label, score) for label, score in found]
                self._count(found[:1])
        return [as_row(sound.name, tag) for tag in (merge(tags) if options.merge else tags)]

    def _count(self, best: list[tuple[str, float]]) -> None:
        for label, _ in best:
            self.metrics.tags.labels(label).inc()

    async def _next(self, batches: Iterator[list[Any]]) -> list[Any]:
        """Decode the next batch. An empty one follows the last."""
        return await self._in_thread(lambda: next(batches, []))

    async def _score(self, loaded: Loaded, spectrograms: list[np.ndarray]) -> np.ndarray:
        return await asyncio.wrap_future(self._scorer.score(loaded.tagger, spectrograms))

    async def _in_thread(self, function: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._decoders, function)


def _choose_all(choose: Choose, scores: np.ndarray) -> list[list[tuple[str, float]]]:
    return [choose(each) for each in scores]


def _measure(sound: Upload, options: Options, limits: Limits) -> Recording:
    """Return what is known of a sound. What is decoded is never longer."""
    recording = examine(sound.file, bound=limits.sound)
    if options.every is not None:
        count = count_windows(sound.file, every=options.every, overlap=options.overlap)
        if count > limits.windows:
            raise RefusedError(422, f"expected at most {limits.windows} windows, found {count}; take longer ones")
    return recording
