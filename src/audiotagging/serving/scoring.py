"""Scores the spectrograms of many requests at once, in one thread: first of the request that had least so far."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from audiotagging.serving.turns import Account
from audiotagging.tagging.tagger import Tagger

STEP = 2048  # frames after which a request lets others go first, half a minute
MOST_FRAMES = 4096  # scored at once, a piece of a minute: what comes meanwhile waits for that
WAIT = 0.005  # seconds for which the first of a batch waits for others


@dataclass(eq=False)
class _Job:
    """Spectrograms that wait to be scored together, by the same models."""

    tagger: Tagger
    spectrograms: Sequence[np.ndarray]
    account: Account
    future: "Future[np.ndarray]" = field(default_factory=Future)

    @property
    def frames(self) -> int:
        return sum(map(len, self.spectrograms))


class Scorer:
    """A thread that scores spectrograms, and a queue of what it has to score."""

    def __init__(self, *, report: Callable[[int], object]) -> None:
        """Start the thread.

        Args:
            report: Called with the number of spectrograms in every batch.
        """
        self._report = report
        self._jobs: list[_Job] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="scorer", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread is alive."""
        return self._thread.is_alive()

    def score(self, tagger: Tagger, spectrograms: Sequence[np.ndarray], account: Account) -> "Future[np.ndarray]":
        """Score spectrograms, together with those of other requests.

        Args:
            tagger: What to score them with.
            spectrograms: At least one, each uint8 and of shape (frames, 128).
            account: The request that they belong to.

        Returns:
            The future scores of every member, float32, shape (members, spectrograms, classes).
        """
        job = _Job(tagger, spectrograms, account)
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()
        return job.future

    def close(self) -> None:
        """Score what waits, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while self._score_next():
            pass

    def _score_next(self) -> bool:
        """Score the next batch, and return whether there was one. Nothing of it, such as old models, is kept."""
        batch = self._next_batch()
        jobs = [job for job in batch if job.future.set_running_or_notify_cancel()]
        if jobs:
            self._score(jobs)
        return bool(batch)

    def _next_batch(self) -> list[_Job]:
        """Wait for jobs, and return those that are scored at once. There are none after the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closed)
            self._changed.wait_for(lambda: self._closed or self._waiting_frames() >= MOST_FRAMES, timeout=WAIT)
            batch: list[_Job] = []
            frames = 0
            for job in sorted(self._jobs, key=lambda job: job.account.frames):
                frames += job.frames
                if batch and (frames > MOST_FRAMES or job.tagger is not batch[0].tagger):
                    break
                batch.append(job)
            for job in batch:
                job.account.frames += job.frames
                self._jobs.remove(job)
            return batch

    def _waiting_frames(self) -> int:
        return sum(job.frames for job in self._jobs)

    def _score(self, jobs: list[_Job]) -> None:
        try:
            spectrograms = [each for job in jobs for each in job.spectrograms]
            self._report(len(spectrograms))
            scores = jobs[0].tagger.networks.score(spectrograms)
            ends = np.cumsum([len(job.spectrograms) for job in jobs])
            for job, part in zip(jobs, np.split(scores, ends[:-1], axis=1), strict=True):
                job.future.set_result(part)
        except BaseException as error:  # the requests answer with it, and the thread scores what comes next
            for job in jobs:
                if not job.future.done():
                    job.future.set_exception(error)
