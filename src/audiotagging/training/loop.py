"""The training of one member on one fold.

What changes during a run is in `Run`; its state, with that of the random generators, is a checkpoint. A run that was
killed goes on where it was and, on a CPU, ends with the same weights, bit for bit, as one that never was. The loop
never waits for the device: losses are collected there and looked at now and then.
"""

import hashlib
import logging
import platform
import signal
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from torch import Tensor

from audiotagging.artifacts.spectrogram_shards import Spectrograms, read_clips, read_spectrograms
from audiotagging.errors import UserError
from audiotagging.files import whole_folder, write_json
from audiotagging.members import Member
from audiotagging.metrics import label_table, lwlrap
from audiotagging.progress import track
from audiotagging.training.augmentation import VIEWS, augment, mixup
from audiotagging.training.checkpoints import Checkpoints
from audiotagging.training.devices import allow_tf32, autocast, best_device, device_name, place
from audiotagging.training.losses import LOSSES, mixed_loss
from audiotagging.training.networks import MODELS
from audiotagging.training.one_cycle import one_cycle
from audiotagging.training.prediction import score
from audiotagging.training.spectrogram_store import Store
from audiotagging.training.warm_start import starting_weights

WEIGHT_DECAY = 0.01  # decoupled from the gradient, on every parameter
SECOND_BETA = 0.99
CHECK_EVERY = 50  # steps between two looks at the losses
TERMINATED = 143  # 128 + SIGTERM, as a shell reports it. Not 2, which is a user's error that no retry mends
# The modules that decide weights.
CODE = ("augmentation", "devices", "loop", "losses", "networks", "one_cycle", "spectrogram_store")

logger = logging.getLogger(__name__)


def train(
    member: Member,
    *,
    fold: int,
    spectrograms: Path,
    out: Path,
    seed: int = 534,
    fingerprint: str = "",
    checkpoints: str | None = None,
    precision: str = "auto",
    warm_start: Path | None = None,
    noisy_clips: Collection[str] | None = None,
) -> None:
    """Train a member and write the folder of its model: weights.safetensors, member.json, history.parquet.

    Args:
        member: What to train.
        fold: The fold whose curated clips are held out and validated on; -1 trains on everything.
        spectrograms: The folder of shards. Its test clips are not read.
        out: The folder to make.
        seed: With the member and the fold it decides every random number of the run.
        fingerprint: The data's. The model notes it, and a checkpoint of other data is refused.
        checkpoints: A folder or URI for the checkpoints of all members and folds; one is written every epoch. None
            writes none.
        precision: "auto" or "float32", as in `devices.autocast`.
        warm_start: The folder of a model of the same network and classes, whose weights to start from.
        noisy_clips: Names of the noisy clips to train on; all of them where not given.

    Raises:
        UserError: If there is no such network or loss, the fold is empty, the loss does not stay finite, or the folder
            to make, the shards, the checkpoint or the model to start from are not what they should be.
        SystemExit: With code 143 on SIGTERM, after writing a checkpoint.
    """
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out}: expected a folder that does not exist yet or is empty; delete it or name another")
    for what, name, known in (("network", member.network, MODELS), ("loss", member.loss, LOSSES)):
        if name not in known:
            raise UserError(f"{member.id}: no {what} is called {name!r}; there are {', '.join(known)}")
    clips = read_clips(spectrograms)
    wanted = clips["part"] == "curated"
    wanted |= (clips["part"] == "noisy") & (noisy_clips is None or clips["clip"].isin(noisy_clips))
    data = read_spectrograms(spectrograms, clips=list(clips["clip"][wanted]))
    torch.manual_seed(run_seed(member, fold=fold, seed=seed))
    run = Run(member, data, fold=fold, device=best_device(), precision=precision)
    identity = run_identity(member, fold=fold, seed=seed, fingerprint=fingerprint, precision=precision)
    if warm_start is not None:
        run.network.load_state_dict(starting_weights(warm_start, member, data.classes))
        identity["warm start"] = hashlib.sha256((warm_start / "weights.safetensors").read_bytes()).hexdigest()
    if noisy_clips is not None:
        identity["noisy clips"] = hashlib.sha256("\n".join(sorted(noisy_clips)).encode()).hexdigest()
    kept = None
    if checkpoints is not None:
        folder = f"{member.id}-{'all' if fold < 0 else f'fold{fold}'}"
        kept = Checkpoints(f"{checkpoints.rstrip('/')}/{folder}", identity=identity)
        state = kept.latest()
        if state is not None:
            run.load_state(state)

    with sigterm_noted() as terminated:
        for _ in track(range(run.step, run.steps), label=f"train {member.id}", total=run.steps - run.step):
            run.train_step()
            if run.epoch_is_done:
                run.finish_epoch()
            if kept is not None and (run.epoch_is_done or terminated.is_set()):
                run.check()
                kept.write(run.step, run.state())
            if terminated.is_set():
                raise SystemExit(TERMINATED)

    info = {
        "member": asdict(member),
        "fold": fold,
        "seed": seed,
        "classes": data.classes,
        "fingerprint": fingerprint,
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__), "code": code_version()},
        "seconds": run.seconds,
        "crops_per_second": run.steps * member.batch_size / run.seconds,
        "device": device_name(run.device),
    }
    _write_model(out, run, info)


def _write_model(out: Path, run: "Run", info: dict[str, Any]) -> None:
    weights = {name: tensor.cpu().contiguous() for name, tensor in run.network.state_dict().items()}
    with whole_folder(out) as part:
        save_file(weights, part / "weights.safetensors")
        write_json(part / "member.json", info)
        pd.DataFrame(run.history).to_parquet(part / "history.parquet", index=False)


class Run:
    """A member's training on a fold, at some step.

    Attributes:
        network: The network, on the device.
        step: Steps done.
        steps: Steps of the whole run.
        seconds: Seconds spent in training steps so far, validation and checkpoints not counted.
        history: A row an epoch that is done: epoch, cycle (both from 1), loss, lr (of the last step), lwlrap (NaN
            where not validated), seconds.
    """

    def __init__(self, member: Member, data: Spectrograms, *, fold: int, device: torch.device, precision: str):
        """Prepare the first step, with weights from the default random generator.

        Raises:
            UserError: If there are no clips to train on, or none in the fold to hold out.
        """
        allow_tf32(precision)
        torch.backends.cudnn.benchmark = True
        self.member = member
        self.device = device
        self.precision = precision
        self.store = Store(data.frames, data.offsets, device=device)
        training, validation = split(data.clips, fold=fold)
        self.training = torch.from_numpy(training).to(self.store.lengths.device)
        self.validation = torch.from_numpy(validation)
        self.classes = len(data.classes)
        truth = label_table(data.clips["labels"].tolist(), data.classes)
        self.truth = truth[validation]
        self.labels = torch.from_numpy(truth[training]).float().to(device)  # (training clips, classes)
        network = MODELS[member.network](VIEWS * self.classes)
        self.network = place(network, device)
        self.optimiser = torch.optim.AdamW(network.parameter_groups(), eps=1e-8, weight_decay=WEIGHT_DECAY, fused=True)
        self.losses = torch.zeros(member.epoch_size, device=device)  # of this epoch's batches
        self.step = 0
        self.steps = member.cycles * member.epochs * member.epoch_size
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []

    @property
    def epoch_is_done(self) -> bool:
        """Whether the last step was the last of an epoch."""
        return self.step % self.member.epoch_size == 0

    def train_step(self) -> None:
        """Train on one batch."""
        started = time.monotonic()
        member = self.member
        cycle_steps = member.epochs * member.epoch_size
        lr, momentum = one_cycle(self.step % cycle_steps, steps=cycle_steps, lr=member.lr)
        for group in self.optimiser.param_groups:
            group["lr"], group["betas"] = lr * group["share"], (momentum, SECOND_BETA)

        pictures, targets, partners, share = self.batch()
        with autocast(self.device, self.precision):
            logits = self.network(pictures)
        loss = mixed_loss(LOSSES[member.loss], logits, targets, partners, share, f2cl=member.f2cl)
        loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.losses[self.step % member.epoch_size] = loss.detach()
        self.step += 1
        if self.step % CHECK_EVERY == 0 or self.epoch_is_done:
            self.check()
        self.seconds += time.monotonic() - started

    def batch(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return a random batch.

        Returns:
            Mixed pictures (batch, 3, size, size); the targets of each crop and of its partner in the mixture, (batch,
            4 x classes); each crop's own share in its mixture, (batch,).
        """
        member = self.member
        crops, clips = self.store.random_crops(self.training, member.batch_size, frames=member.frames)
        views = torch.randint(VIEWS, (member.batch_size,), device=self.device)
        targets = view_targets(self.labels[clips], views)
        pictures, partners, share = mixup(augment(crops, views, size=member.size))
        return pictures, targets, targets[partners], share

    def check(self) -> None:
        """Look at the losses of this epoch so far and at the weights, which waits for the device.

        Raises:
            UserError: If one of them is not finite.
        """
        epoch, batch = divmod(self.step - 1, self.member.epoch_size)
        losses = self.losses[: batch + 1].cpu()
        if not losses.isfinite().all():
            batch = int((~losses.isfinite()).int().argmax())
            found = f"loss {losses[batch]:g}"
        elif not torch.stack([tensor.isfinite().all() for tensor in self.network.state_dict().values()]).all():
            found = "weights that are not"
        else:
            return
        raise UserError(
            f"{self.member.id}: expected a finite loss and weights, found {found} in epoch {epoch + 1}, batch "
            f"{batch + 1}; the last checkpoint is from before; train with a lower lr than {self.member.lr:g}"
        )

    def finish_epoch(self) -> None:
        """Validate if it is due, and add the epoch to the history."""
        member = self.member
        epoch = self.step // member.epoch_size
        row = {
            "epoch": epoch,
            "cycle": (epoch - 1) // member.epochs + 1,
            "loss": float(self.losses.mean()),
            "lr": self.optimiser.param_groups[-1]["lr"],
            "lwlrap": float("nan"),
            "seconds": self.seconds - sum(row["seconds"] for row in self.history),
        }
        if len(self.validation) and (epoch % member.validate_every == 0 or self.step == self.steps):
            row["lwlrap"] = self.validate()
        self.history.append(row)
        logger.info("%s: epoch %d, loss %.4f, lwlrap %.4f", member.id, epoch, row["loss"], row["lwlrap"])

    def validate(self) -> float:
        """Return the lwlrap on the curated clips of the fold that is held out."""
        scores = score(
            self.network.eval(),
            self.store,
            self.validation,
            member=self.member,
            classes=self.classes,
            precision=self.precision,
            label=f"validate {self.member.id}",
        )
        self.network.train()
        return lwlrap(self.truth, scores)

    def state(self) -> dict[str, Any]:
        """Return all that `load_state` needs to go on from here."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "losses": self.losses,
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "random": torch.get_rng_state(),
            "random on the GPU": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from the state of another process's run."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.losses.copy_(state["losses"])
        self.step, self.seconds, self.history = state["step"], state["seconds"], state["history"]
        torch.set_rng_state(state["random"])
        if self.device.type == "cuda" and state["random on the GPU"] is not None:
            torch.cuda.set_rng_state(state["random on the GPU"], self.device)


def split(clips: pd.DataFrame, *, fold: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the clips to train on and of those to validate on.

    Args:
        clips: Curated and noisy clips: `part` and `fold`.
        fold: The fold whose curated clips are held out; -1: none.

    Raises:
        UserError: If the fold has no curated clips, or nothing is left to train on.
    """
    held_out = ((clips["part"] == "curated") & (clips["fold"] == fold) & (fold >= 0)).to_numpy()
    if fold >= 0 and not held_out.any():
        found = sorted(set(clips.loc[clips["part"] == "curated", "fold"]))
        raise UserError(f"expected curated clips in fold {fold}, found none; the spectrograms have folds {found}")
    if held_out.all():
        raise UserError(f"expected clips to train on, found none beside the {len(clips)} of fold {fold}")
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def view_targets(labels: Tensor, views: Tensor) -> Tensor:
    """Return targets in which every view has outputs of its own: view v's class c is output v * classes + c.

    Args:
        labels: 0 or 1, float32, shape (batch, classes).
        views: The view of each crop, shape (batch,).

    Returns:
        Shape (batch, 4 x classes); 0 in the outputs of the other views.
    """
    targets = labels.new_zeros(len(labels), VIEWS, labels.shape[1])
    targets[torch.arange(len(labels), device=labels.device), views] = labels
    return targets.flatten(1)


def run_seed(member: Member, *, fold: int, seed: int) -> int:
    """Return a run's own seed; members and folds have different ones."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{member.id}/{fold}".encode()).digest()[:8], "big")


def run_identity(member: Member, *, fold: int, seed: int, fingerprint: str, precision: str) -> dict[str, Any]:
    """Return what decides the weights that a run ends with, by name."""
    row = {f"member {name}": value for name, value in asdict(member).items()}
    return row | {
        "fold": fold,
        "seed": seed,
        "data fingerprint": fingerprint,
        "precision": precision,
        "torch": str(torch.__version__),
        "code version": code_version(),
        "warm start": None,
        "noisy clips": None,
    }


def code_version() -> str:
    """Return a hash of the modules that decide weights."""
    folder = Path(__file__).parent
    return hashlib.sha256(b"".join((folder / f"{name}.py").read_bytes() for name in CODE)).hexdigest()[:12]


@contextmanager
def sigterm_noted() -> Iterator[threading.Event]:
    """Set an event on SIGTERM instead of ending the process."""
    received = threading.Event()
    previous = signal.signal(signal.SIGTERM, lambda number, frame: received.set())
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, previous)
