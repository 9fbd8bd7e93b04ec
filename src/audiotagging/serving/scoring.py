"""Scores the spectrograms of many requests at once, in one thread, with the same share for each request.

Next is what would end first if all requests were scored side by side: short ones, mostly, but a long one too after as
many of them as are equal to it. A request that comes has no credit for the time before. (Demers, Keshav and Shenker,
"Analysis and simulation of a fair queueing algorithm", 1989.)

What is scored at once is about as long, so that nobody waits for what is much longer. A batch that takes long is put
off between its members when something comes that would end before it.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from audiotagging.serving.turns import Account
from audiotagging.tagging.tagger import Steps, Tagger

STEP = 2048  # frames of a request that are scored before it lets others go first, half a minute
MOST_FRAMES = 4096  # scored at once
ALIKE = 4  # times as many frames, at most, in what is scored at once
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

    @property
    def end(self) -> float:
        """What its request will have had when it is scored, in frames."""
        return self.account.frames + self.frames


class _Batch:
    """Jobs that are scored at once."""

    def __init__(self, jobs: list[_Job]) -> None:
        self.end = jobs[0].end
        self.frames = sum(job.frames for job in jobs)
        self.requests = {job.account for job in jobs}
        self._jobs = jobs
        self._steps: Steps | None = None
        for job in jobs:
            job.account.frames += job.frames

    def advance(self, report: Callable[[int], object]) -> bool:
        """Score the jobs with the next member, and return whether nothing is left to do.

        Args:
            report: Called at the beginning with the number of spectrograms.
        """
        if all(job.future.cancelled() for job in self._jobs):
            return True
        try:
            if self._steps is None:
                spectrograms = [each for job in self._jobs for each in job.spectrograms]
                report(len(spectrograms))
                self._steps = self._jobs[0].tagger.networks.steps(spectrograms)
            next(self._steps)
            return False
        except StopIteration as end:
            ends = np.cumsum([len(job.spectrograms) for job in self._jobs])
            for job, part in zip(self._jobs, np.split(end.value, ends[:-1], axis=1), strict=True):
                if job.future.set_running_or_notify_cancel():
                    job.future.set_result(part)
        except BaseException as error:  # the requests answer with it, and the thread scores what comes next
            for job in self._jobs:
                if job.future.set_running_or_notify_cancel():
                    job.future.set_exception(error)
        return True


class Scorer:
    """A thread that scores spectrograms, and a queue of what it has to score."""

    def __init__(self, *, report: Callable[[int], object]) -> None:
        """Start the thread.

        Args:
            report: Called with the number of spectrograms in every batch.
        """
        self._report = report
        self._jobs: list[_Job] = []
        self._level = 0.0  # frames that a request would have had that had always shared with all others
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
            account.frames = max(account.frames, self._level)
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
        batches: list[_Batch] = []  # the last one is scored, and the others wait for it
        while self._choose(batches):
            if batches and batches[-1].advance(self._report):
                self._finish(batches.pop())

    def _finish(self, batch: _Batch) -> None:
        with self._changed:
            requests = {job.account for job in self._jobs} | batch.requests
            self._level += batch.frames / len(requests)

    def _choose(self, batches: list[_Batch]) -> bool:
        """Begin a batch if there is none, or one that would end first. Return whether to go on."""
        with self._changed:
            if not batches:
                self._changed.wait_for(lambda: self._jobs or self._closed)
                self._changed.wait_for(lambda: self._closed or self._waiting_frames() >= MOST_FRAMES, timeout=WAIT)
            self._jobs = [job for job in self._jobs if not job.future.cancelled()]
            jobs = sorted(self._jobs, key=lambda job: job.end)
            if not jobs or (batches and jobs[0].end >= batches[-1].end):
                return bool(batches) or not self._closed
            chosen: list[_Job] = []
            frames = 0
            for job in jobs:
                frames += job.frames
                alike = job.tagger is jobs[0].tagger and job.frames <= ALIKE * jobs[0].frames
                if chosen and not (alike and frames <= MOST_FRAMES):
                    break
                chosen.append(job)
            for job in chosen:
                self._jobs.remove(job)
            batches.append(_Batch(chosen))
            return True

    def _waiting_frames(self) -> int:
        return sum(job.frames for job in self._jobs)
