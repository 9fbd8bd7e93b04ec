"""The training loop. `TrainingRun` holds everything that changes during training; its state is what a checkpoint saves.

The loop rarely waits for the device: losses are collected there and checked only every `CHECK_EVERY` steps.
"""

import time
from typing import Any

import torch
from torch import Tensor

from audiotagging.artifacts.spectrogram_shards import Spectrograms
from audiotagging.base.errors import UserError
from audiotagging.members import Member
from audiotagging.statistics.metrics import lwlrap
from audiotagging.training.augmentation import VIEWS
from audiotagging.training.batches import Targets, TrainingData
from audiotagging.training.devices import allow_tf32, autocast, move
from audiotagging.training.losses import LOSSES, mixed_loss
from audiotagging.training.networks import NETWORKS
from audiotagging.training.one_cycle import one_cycle
from audiotagging.training.prediction import score

WEIGHT_DECAY = 0.01  # decoupled from the gradient, for all parameters
SECOND_BETA = 0.99
CHECK_EVERY = 50  # steps between checks of the losses


class TrainingRun:
    """The training of a member with one fold held out, at some step.

    Attributes:
        network: The network, on the device.
        step: Number of completed steps.
        steps: Number of steps of the whole run.
        seconds: Seconds spent on training steps so far, without validation and checkpoints.
        history: One row per completed epoch: epoch, cycle (both starting at 1), loss, lr (of the last step), lwlrap
            (NaN if the epoch was not validated), seconds.
    """

    def __init__(
        self,
        member: Member,
        data: Spectrograms,
        *,
        fold: int,
        device: torch.device,
        precision: str,
        targets: Targets | None = None,
    ):
        """Prepare the first step. The weights come from the default random generator.

        Args:
            member: The member to train.
            data: Spectrograms of the curated and the noisy clips.
            fold: The fold to hold out, or -1 for none.
            device: The device to train on.
            precision: "auto" or "float32", as in `devices.autocast`.
            targets: What to learn. The default is the labels.

        Raises:
            UserError: If there are no clips to train on, or no clips in the fold to hold out.
        """
        allow_tf32(precision)
        torch.backends.cudnn.benchmark = True
        self.member = member
        self.device = device
        self.precision = precision
        self.data = TrainingData(data, fold=fold, device=device, targets=targets)
        network = NETWORKS[member.network](VIEWS * self.data.classes)
        self.network = move(network, device)
        self.optimiser = torch.optim.AdamW(network.parameter_groups(), eps=1e-8, weight_decay=WEIGHT_DECAY, fused=True)
        self.losses = torch.zeros(member.epoch_size, device=device)  # one per batch of this epoch
        self.step = 0
        self.steps = member.cycles * member.epochs * member.epoch_size
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []

    @property
    def epoch_is_done(self) -> bool:
        """Whether the last step completed an epoch."""
        return self.step % self.member.epoch_size == 0

    def train_step(self) -> None:
        """Train on one batch."""
        started = time.monotonic()
        member = self.member
        cycle_steps = member.epochs * member.epoch_size
        lr, momentum = one_cycle(self.step % cycle_steps, steps=cycle_steps, lr=member.lr)
        for group in self.optimiser.param_groups:
            group["lr"], group["betas"] = lr * group["share"], (momentum, SECOND_BETA)
        self.network.freeze_body(self.step < member.freeze_epochs * member.epoch_size)

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
        """Return a random batch, as `TrainingData.batch` does."""
        return self.data.batch(self.member)

    def check(self) -> None:
        """Check that this epoch's losses and the weights are finite. This waits for the device.

        Raises:
            UserError: If training diverged.
        """
        epoch, batch = divmod(self.step - 1, self.member.epoch_size)
        losses = self.losses[: batch + 1].cpu()
        if not losses.isfinite().all():
            batch = int((~losses.isfinite()).int().argmax())
            found = f"a loss of {losses[batch]:g}"
        elif not torch.stack([tensor.isfinite().all() for tensor in self.network.state_dict().values()]).all():
            found = "non-finite weights"
        else:
            return
        raise UserError(
            f"{self.member.id}: training diverged: {found} in epoch {epoch + 1}, batch {batch + 1}; "
            f"use a learning rate below {self.member.lr:g}"
        )

    def finish_epoch(self) -> None:
        """Add the epoch to the history, after validating it if that is due."""
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
        if self.data.truth.any() and (epoch % member.validate_every == 0 or self.step == self.steps):
            row["lwlrap"] = self.validate()
        self.history.append(row)

    def validate(self) -> float:
        """Return the lwlrap on the curated clips of the held-out fold, of the labels that count."""
        scores = score(
            self.network.eval(),
            self.data.store,
            self.data.validation,
            member=self.member,
            classes=self.data.classes,
            precision=self.precision,
            label="validate",
        )
        self.network.train()
        return lwlrap(self.data.truth, scores)

    def state(self) -> dict[str, Any]:
        """Return everything that `load_state` needs to resume from here."""
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
        """Resume from the state of an earlier run, which may have been in another process."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.losses.copy_(state["losses"])
        self.step, self.seconds, self.history = state["step"], state["seconds"], state["history"]
        torch.set_rng_state(state["random"])
        if self.device.type == "cuda" and state["random on the GPU"] is not None:
            torch.cuda.set_rng_state(state["random on the GPU"], self.device)
