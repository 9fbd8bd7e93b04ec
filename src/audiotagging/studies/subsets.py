"""Draws: a member is trained on a quarter, half, three quarters and all of the curated clips, and scores other clips.

A draw deals the clips to four quarters, each with its share of every label, and adds one quarter after the other. Other
draws deal them in another way, so that three of them show how much the score depends on which clips were drawn. All
clips are the same in every draw; there only the seed of the training differs.

The predictions of every training are kept in a file that is named after everything that determines them. A command that
was interrupted therefore resumes, and what was trained before is not trained again.
"""

import hashlib
import json
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from audiotagging.artifacts.predictions import Predictions, write_predictions
from audiotagging.artifacts.spectrogram_shards import read_clips, read_fingerprint, read_spectrograms
from audiotagging.base.processes import TERMINATED, end_with_parent
from audiotagging.members import Member
from audiotagging.statistics.stratification import stratify
from audiotagging.training.checkpoints import run_checkpoints
from audiotagging.training.devices import best_device
from audiotagging.training.identity import run_identity, run_seed
from audiotagging.training.loop import TrainingRun
from audiotagging.training.prediction import Model, score_clips
from audiotagging.training.train import train_to_the_end

SHARES = (0.25, 0.5, 0.75, 1.0)
DRAWS = 3
CONTEXT = multiprocessing.get_context("spawn")  # a forked process cannot use a GPU that its parent has initialised

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Subset:
    """The clips to train on.

    Attributes:
        number: Number of the draw, from 1.
        share: Share of the clips that it takes, of `SHARES`.
        clips: Names of the clips.
    """

    number: int
    share: float
    clips: list[str]


def deal_subsets(clips: Sequence[str], labels: Sequence[Sequence[str]], *, seed: int) -> list[Subset]:
    """Return the draws: for each of `DRAWS` and each of `SHARES` the clips, with those of the smaller shares.

    Args:
        clips: Names of the clips that may be drawn, all different.
        labels: Labels of every clip, at least one each.
        seed: Seed of the draws.
    """
    draws = []
    for number in range(1, DRAWS + 1):
        quarters = stratify(clips, labels, shares=[1] * len(SHARES), seed=seed + number)
        for place, share in enumerate(SHARES):
            chosen = [clip for clip, quarter in zip(clips, quarters, strict=True) if quarter <= place]
            draws.append(Subset(number, share, chosen))
    return draws


@dataclass(frozen=True)
class Training:
    """The training of a member on a draw.

    Attributes:
        draw: The draw.
        member: The member, whose id names the draw, and with it the seed.
        noisy_clips: Names of the noisy clips, all of which are trained on too.
        scored: The part and the names of the clips to score.
        spectrograms: The folder of shards.
        seed: Seed of all trainings.
        identity: What determines the predictions.
    """

    draw: Subset
    member: Member
    noisy_clips: list[str]
    scored: tuple[str, list[str]]
    spectrograms: Path
    seed: int
    identity: Mapping[str, Any]

    def path(self, folder: Path) -> Path:
        """Return where its predictions are, in the folder of all predictions."""
        content = json.dumps([self.identity, self.scored], sort_keys=True)
        return folder / f"{self.member.id}-{hashlib.sha256(content.encode()).hexdigest()[:16]}.parquet"


def plan_trainings(
    draws: Sequence[Subset],
    *,
    member: Member,
    noisy_clips: list[str],
    scored: tuple[str, list[str]],
    spectrograms: Path,
    seed: int,
) -> list[Training]:
    """Return one training per draw. For the arguments see `Training`."""
    clips = read_clips(spectrograms)
    plan = partial(
        plan_training,
        curated=set(clips["clip"][clips["part"] == "curated"]),
        noisy_clips=noisy_clips,
        scored=scored,
        spectrograms=spectrograms,
        seed=seed,
    )
    return [plan(draw, member=replace(member, id=f"draw{draw.number}-{100 * draw.share:.0f}percent")) for draw in draws]


def plan_training(
    draw: Subset,
    *,
    member: Member,
    curated: set[str],
    noisy_clips: list[str],
    scored: tuple[str, list[str]],
    spectrograms: Path,
    seed: int,
) -> Training:
    """Return a training on a draw of the `curated` clips. For the other arguments see `Training`."""
    identity = run_identity(
        member,
        module=__name__,
        fold=-1,
        seed=seed,
        fingerprint=read_fingerprint(spectrograms),
        precision="auto",
        start=None,
        held_out=curated.difference(draw.clips),
        noisy_clips=noisy_clips,
    )
    return Training(draw, member, noisy_clips, scored, spectrograms, seed, identity)


def train_and_score(training: Training, *, folder: Path, checkpoints: str) -> None:
    """Train on a draw, and write the predictions.

    Args:
        training: What to train.
        folder: The folder of all predictions.
        checkpoints: The folder of the checkpoints of interrupted trainings.

    Raises:
        UserError: If training diverges, or if the spectrograms cannot be used.
        SystemExit: On SIGTERM, with code 143, after writing a checkpoint.
    """
    part, names = training.scored
    data = read_spectrograms(
        training.spectrograms, parts=["curated", "noisy"], clips=[*training.draw.clips, *training.noisy_clips]
    )
    torch.manual_seed(run_seed(training.member, fold=-1, seed=training.seed))
    run = TrainingRun(training.member, data, fold=-1, device=best_device(), precision="auto")
    with run_checkpoints(checkpoints, identity=dict(training.identity)) as kept:
        train_to_the_end(run, kept)
        model = Model(run.network.eval(), training.member, data.classes, -1)
        scored = read_spectrograms(training.spectrograms, parts=[part], clips=names)
        scores = score_clips(model, scored.frames, scored.offsets)
        rows = pd.DataFrame(
            {
                "clip": scored.clips["clip"],
                "part": "test" if part == "test" else "validation",
                "member": training.member.id,
                "fold": -1,
            }
        )
        write_predictions(training.path(folder), Predictions(data.classes, rows, scores))


def train_all(
    trainings: Sequence[Training], *, folder: Path, checkpoints: Path, log: Path, slots: Sequence[Mapping[str, str]]
) -> Iterator[Training]:
    """Train in processes of their own, and yield every training when it is done.

    Args:
        trainings: What to train.
        folder: The folder of all predictions.
        checkpoints: The folder of the checkpoints of interrupted trainings.
        log: The file that the processes append their messages to.
        slots: The environment variables of each process, whose number is the number of trainings at the same time.

    Raises:
        UserError: If `train_and_score` raises it.
        MemoryError: If a process is killed, most likely because memory ran out.
    """
    free = CONTEXT.Queue()
    for slot in slots:
        free.put(slot)
    with ProcessPoolExecutor(len(slots), mp_context=CONTEXT, initializer=_begin, initargs=(free, log)) as pool:
        try:
            running = {
                pool.submit(_until_terminated, train_and_score, each, folder=folder, checkpoints=str(checkpoints)): each
                for each in trainings
            }
            for future in as_completed(running):
                future.result()
                yield running[future]
        except BrokenProcessPool:
            raise MemoryError(
                f"one of {len(slots)} trainings was killed, most likely because memory ran out; "
                "train fewer at once with --parallel, or use a machine with more memory"
            ) from None
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()  # they write checkpoints first
            raise


def _begin(free: Any, log: Path) -> None:
    """Prepare a process: take its share of the machine, and write all messages to the log."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, which sends it to all processes; the parent ends them
    slot = free.get()
    os.environ.update(slot)
    torch.set_num_threads(int(slot["OMP_NUM_THREADS"]))
    sys.stdout = sys.stderr = log.open("a", buffering=1, encoding="utf-8")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)


def _until_terminated(function: Callable[..., None], *arguments: Any, **options: Any) -> None:
    """Call a function. If SIGTERM ends it, the process ends too, and does not go on with the next training."""
    try:
        function(*arguments, **options)
    except SystemExit:
        os._exit(TERMINATED)
