"""The stage that trains one member with one fold held out, and writes the folder of its model.

A killed run resumes from its last checkpoint. On a CPU it ends with the same weights, bit for bit, as a run that was
never killed.
"""

import logging
import platform
import signal
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save

from audiotagging.artifacts.model_folder import ModelMetadata, write_model
from audiotagging.artifacts.selection import read_folds, read_noisy_clips, with_folds
from audiotagging.artifacts.spectrogram_shards import Spectrograms, read_clips, read_fingerprint, read_spectrograms
from audiotagging.base.errors import UserError
from audiotagging.base.processes import TERMINATED
from audiotagging.base.wording import pluralize
from audiotagging.members import LINEAR, Member
from audiotagging.statistics.metrics import label_table, lwlrap
from audiotagging.training.batches import Targets, split
from audiotagging.training.checkpoints import Checkpoints, run_checkpoints
from audiotagging.training.devices import best_device, device_name
from audiotagging.training.identity import code_version, run_identity, run_seed
from audiotagging.training.linear_model import clip_statistics, fit_linear_model
from audiotagging.training.loop import TrainingRun
from audiotagging.training.starting_weights import candidates, choose, starting_point
from audiotagging.training.training_progress import TrainingProgress
from audiotagging.training.weights_file import read_weights, start_with

logger = logging.getLogger(__name__)


def train_row(
    row: dict[str, Any],
    *,
    spectrograms: Path,
    selection: Path,
    init: Mapping[str, str],
    out: Path,
    seed: int,
    checkpoints: str,
    champions: str,
    warm_start: float,
) -> None:
    """Train the member of a row of the pipeline's loop.

    Args:
        row: A row of `audiotagging.members.rows`: the fields of a Member and `fold`.
        spectrograms: The folder of shards.
        selection: The folder of the selection: folds and noisy clips.
        init: The weights to start with (`audiotagging.artifacts.initial_weights`), or nothing for new ones.
        out: The folder of the model to create.
        seed: Seed of the run. The seed of each member and fold is derived from it.
        checkpoints: Folder or URI for the checkpoints of interrupted trainings. An empty string disables them.
        champions: The champions folder, for a warm start. An empty string disables it.
        warm_start: Share of the epochs to train in a warm start. 0 means new weights and all epochs.

    Raises:
        UserError: If `train` raises it, or if the champion is corrupt.
        SystemExit: On SIGTERM, with code 143, after writing a checkpoint.
    """
    member, fold, start = Member.from_row(row), int(row["fold"]), None
    starts_anew = member.network == LINEAR  # fitting it takes seconds
    if champions and warm_start and not starts_anew:
        member, start = starting_point(
            member, fold=fold, champions=Path(champions), spectrograms=spectrograms, share=warm_start
        )
    elif not starts_anew and init:
        weights = candidates(Path(init["path"]))
        start = choose(weights, member, fold=fold, seed=seed, fingerprint=read_fingerprint(spectrograms))
    train(
        member,
        fold=fold,
        spectrograms=spectrograms,
        out=out,
        seed=seed,
        checkpoints=checkpoints,
        start=start,
        folds=read_folds(selection),
        noisy_clips=list(read_noisy_clips(selection, read_clips(spectrograms))["fname"]),
    )


def train(
    member: Member,
    *,
    fold: int,
    spectrograms: Path,
    out: Path,
    seed: int,
    checkpoints: str = "",
    precision: str = "auto",
    start: Path | None = None,
    folds: Mapping[str, int] | None = None,
    noisy_clips: Collection[str] | None = None,
    targets: Targets | None = None,
) -> None:
    """Train a member and write the folder of its model.

    Args:
        member: The member to train.
        fold: The fold whose curated clips are held out for validation, or -1 to train on everything.
        spectrograms: The folder of shards. Its test clips are not read.
        out: The folder of the model to create.
        seed: Seed of the run. All random numbers depend on it, on the member and on the fold.
        checkpoints: A folder or URI. The run keeps its checkpoints, one per epoch, in a folder of its own there until
            it is complete. An empty string disables checkpoints.
        precision: "auto" or "float32", as in `devices.autocast`.
        start: The folder of a model or a file of weights of the same network, to start with. None for new weights,
            none of which is frozen.
        folds: The fold of every curated clip. The default is the folds in the data's own table.
        noisy_clips: Names of the noisy clips to train on. The default is all of them.
        targets: What to learn, for all of these clips. The default is their labels.

    Raises:
        UserError: If the fold is empty, if training diverges, or if the folder to create, the shards or the weights to
            start with cannot be used.
        SystemExit: On SIGTERM, with code 143, after writing a checkpoint.
    """
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out}: expected a folder that does not exist yet or is empty; delete it, or name another")
    clips = read_clips(spectrograms)
    wanted = clips["part"] == "curated"
    wanted |= (clips["part"] == "noisy") & (noisy_clips is None or clips["clip"].isin(noisy_clips))
    data = read_spectrograms(spectrograms, clips=list(clips["clip"][wanted]))
    if folds is not None:
        data = replace(data, clips=with_folds(data.clips, folds))
    fingerprint = read_fingerprint(spectrograms)
    facts = ModelMetadata(
        member=member,
        fold=fold,
        seed=seed,
        classes=data.classes,
        fingerprint=fingerprint,
        versions={"python": platform.python_version(), "torch": str(torch.__version__), "code": code_version(__name__)},
        seconds=0.0,
        crops_per_second=0.0,
        device=device_name(torch.device("cpu")),
        targets=targets.digest if targets is not None else None,
    )
    if member.network == LINEAR:
        train_linear_model(data, facts=facts, out=out)
        return
    initial = read_weights(start) if start else None
    if initial is None:
        member = replace(member, freeze_epochs=0)
    identity = run_identity(
        member,
        module=__name__,
        fold=fold,
        seed=seed,
        fingerprint=fingerprint,
        precision=precision,
        start=initial.digest if initial else None,
        held_out=list(data.clips["clip"][split(data.clips, fold=fold)[1]]),
        noisy_clips=list(data.clips["clip"][data.clips["part"] == "noisy"]),
    )
    if targets is not None:
        identity["targets"] = targets.digest
    torch.manual_seed(run_seed(member, fold=fold, seed=seed))
    run = TrainingRun(member, data, fold=fold, device=best_device(), precision=precision, targets=targets)
    origin = start_with(run.network, initial, data.classes) if initial else None
    with run_checkpoints(checkpoints, identity=identity) as kept:
        train_to_the_end(run, kept)
        facts = replace(
            facts,
            member=member,
            seconds=run.seconds,
            crops_per_second=run.steps * member.batch_size / run.seconds,
            device=device_name(run.device),
            start=origin,
        )
        weights = {name: tensor.cpu().contiguous() for name, tensor in run.network.state_dict().items()}
        write_model(out, facts=facts, history=pd.DataFrame(run.history), weights=save(weights))


def train_linear_model(data: Spectrograms, *, facts: ModelMetadata, out: Path) -> None:
    """Fit a linear model to all clips that are not held out, and write the folder of the model.

    Raises:
        UserError: If there are no clips to train on, or none in the fold to hold out.
    """
    started = time.monotonic()
    training, held_out = split(data.clips, fold=facts.fold)
    truth = label_table(data.clips["labels"].tolist(), data.classes)
    statistics = clip_statistics(data.frames, data.offsets)
    model = fit_linear_model(statistics[training], truth[training])
    scores = model.score(statistics)
    seconds = time.monotonic() - started
    loss = -np.log(np.where(truth, scores, 1 - scores).clip(1e-9))[training].sum(axis=1).mean()
    scored = lwlrap(truth[held_out], scores[held_out]) if truth[held_out].any() else float("nan")
    history = {"epoch": 1, "cycle": 1, "loss": float(loss), "lr": 0.0, "lwlrap": scored, "seconds": seconds}
    logger.info("fitted to %s", pluralize(len(training), "clip"))
    facts = replace(facts, seconds=seconds, crops_per_second=len(training) / seconds)
    write_model(out, facts=facts, history=pd.DataFrame([history]), weights=save(model.state_dict()))


def train_to_the_end(run: TrainingRun, kept: Checkpoints | None) -> None:
    """Do all steps that remain since the newest checkpoint. Write a checkpoint after every epoch and on SIGTERM."""
    state = kept.latest() if kept else None
    if state is not None:
        run.load_state(state)
    with sigterm_noted() as terminated:
        progress = TrainingProgress(run)
        for _ in range(run.step, run.steps):
            run.train_step()
            if run.epoch_is_done:
                run.finish_epoch()
            progress.after_step()
            if kept is not None and (run.epoch_is_done or terminated.is_set()):
                run.check()
                kept.write(run.step, run.state())
            if terminated.is_set():
                raise SystemExit(TERMINATED)


@contextmanager
def sigterm_noted() -> Iterator[threading.Event]:
    """Set an event on SIGTERM instead of ending the process."""
    received = threading.Event()
    previous = signal.signal(signal.SIGTERM, lambda number, frame: received.set())
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, previous)
