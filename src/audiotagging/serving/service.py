"""Tags what was sent, as the command `tag` does: lets processes decode it, and scores it with other requests."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from audiotagging.base.errors import UserError
from audiotagging.serving.decoding import Decoders
from audiotagging.serving.limits import Limits, RefusedError, Room, Share
from audiotagging.serving.metrics import Metrics
from audiotagging.serving.options import Options
from audiotagging.serving.reloading import Loaded, Models
from audiotagging.serving.scoring import STEP, Scorer
from audiotagging.serving.turns import Account
from audiotagging.serving.uploads import Upload
from audiotagging.tagging.formats import as_file_row, as_row
from audiotagging.tagging.tagger import SILENT, in_batches
from audiotagging.tagging.windows import Choose, Tag, choice, merge


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
        """Load the models, and start the processes and the threads.

        Raises:
            UserError: If there are no models, or if they are corrupt.
        """
        self.limits = limits
        self.memory, self.queue = Room(limits.memory), Room(limits.queue)
        self.metrics = Metrics(queue=self.queue, memory=self.memory)
        self.ending = False
        self.models = Models(models, changed=self._show_models)
        self._scorer = Scorer(report=self.metrics.batches.observe)
        self._decoders = Decoders(lost=lambda reason: self.metrics.lost.labels(reason).inc())

    @property
    def alive(self) -> bool:
        """Whether it can decode and score."""
        return self._scorer.alive and self._decoders.alive

    def close(self) -> None:
        """Finish what is in progress, and end the processes and the threads."""
        self.models.close()
        self._decoders.close()
        self._scorer.close()

    def _show_models(self, models: Models) -> None:
        self.metrics.model.clear()
        self.metrics.model.labels(models.current.version).set(1)
        self.metrics.refused.set(bool(models.refused))

    async def tag(self, sounds: Sequence[Upload], options: Options, loaded: Loaded, memory: Share) -> Answer:
        """Tag sounds. If this is cancelled, or one of them cannot be tagged, the work on all of them ends.

        Args:
            sounds: The sounds.
            options: What to answer.
            loaded: The models.
            memory: Where the memory for their spectrograms is taken from.

        Returns:
            The rows that the command `tag` prints as JSON, one per sound, or one per tag of a window, and its notes.

        Raises:
            RefusedError: If one of them is not a sound, or if it is too long.
        """
        tagger = loaded.tagger
        choose = choice(tagger.classes, tagger.averaging, top=options.top, precision=options.precision)
        account = Account()
        tasks = [asyncio.create_task(self._tag(sound, options, loaded, choose, account, memory)) for sound in sounds]
        try:
            answers = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        rows = [row for answer in answers for row in answer.rows]
        notes = [f"{number}: {note}" for number, answer in enumerate(answers, 1) for note in answer.notes]
        return Answer(rows, notes)

    async def _tag(
        self, sound: Upload, options: Options, loaded: Loaded, choose: Choose, account: Account, memory: Share
    ) -> Answer:
        task = self.limits.task(every=options.every, overlap=options.overlap)
        try:
            decoded = await self._decoders.decode(sound.file, task, account=account, memory=memory)
        except RefusedError:
            raise
        except UserError as error:
            raise RefusedError(422, f"{sound.name or 'a file without a name'}: {error}") from error
        self.metrics.sounds.observe(decoded.seconds)
        members = await self._score(loaded, decoded.spectrograms, account)  # (members, spectrograms, classes)
        if options.every is not None:
            chosen = await asyncio.to_thread(_choose_all, choose, loaded.tagger.average(members))
            self._count(chosen)
            tags: Iterable[Tag] = (
                Tag(start, end, label, score)
                for (start, end), found in zip(decoded.places, chosen, strict=True)
                for label, score in found
            )
            return Answer([as_row(sound.name, tag) for tag in (merge(tags) if options.merge else tags)], decoded.notes)
        if not any(spectrogram.any() for spectrogram in decoded.spectrograms):
            return Answer([as_file_row(sound.name, [])], [*decoded.notes, SILENT])
        best = choose(loaded.tagger.average(members.max(axis=1, keepdims=True))[0])
        self._count([best])
        return Answer([as_file_row(sound.name, best)], decoded.notes)

    async def _score(self, loaded: Loaded, spectrograms: list[np.ndarray], account: Account) -> np.ndarray:
        """Return the scores of every member, float32, shape (members, spectrograms, classes)."""
        tagger, batches = loaded.tagger, in_batches(spectrograms, frames=len, most=STEP)
        nothing = np.empty((len(tagger.networks.members), 0, len(tagger.classes)), np.float32)
        found = [await asyncio.wrap_future(self._scorer.score(tagger, batch, account)) for batch in batches]
        return np.concatenate([nothing, *found], axis=1)

    def _count(self, chosen: Iterable[list[tuple[str, float]]]) -> None:
        for best, *_ in filter(None, chosen):
            self.metrics.tags.labels(best[0]).inc()


def _choose_all(choose: Choose, scores: np.ndarray) -> list[list[tuple[str, float]]]:
    return [choose(each) for each in scores]
