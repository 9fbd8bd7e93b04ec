"""Training and prediction, compared with a plain training step and with prediction of one clip at a time.

All rows run on the GPU if there is one, with the published sizes. On a CPU, batches and clips are few enough to finish
soon. `python -m benchmarks.gpu` measures more of a GPU.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from audiotagging.artifacts.spectrogram_shards import Spectrograms
from audiotagging.members import REFERENCE, Member
from audiotagging.training.augmentation import VIEWS
from audiotagging.training.devices import best_device, move
from audiotagging.training.loop import TrainingRun
from audiotagging.training.networks import NETWORKS, SimpleSelfAttention
from audiotagging.training.prediction import Model, score_clips
from benchmarks.frame import Row, race

DEVICE = best_device()
GPU = DEVICE.type == "cuda"
CLASSES = [f"class {number}" for number in range(80)]
STEP = replace(REFERENCE[0], batch_size=64 if GPU else 8)
CLIPS = 200
ROUNDS = 9 if GPU else 3


@cache
def random_clips() -> Spectrograms:
    """Return 200 clips of 2 to 15 s, each with one label."""
    rng = np.random.default_rng(2019)
    lengths = rng.integers(128, 953, CLIPS)
    offsets = np.concatenate([[0], lengths.cumsum()])
    labels = [[CLASSES[number % len(CLASSES)]] for number in range(CLIPS)]
    clips = pd.DataFrame({"clip": [f"{number}.wav" for number in range(CLIPS)], "labels": labels}).assign(
        part="curated", fold=0, usage="", frames=lengths
    )
    return Spectrograms(clips, rng.integers(0, 256, (offsets[-1], 128), np.uint8), offsets, CLASSES)


def run_of(member: Member) -> TrainingRun:
    """Return a member's training on the clips, before its first step."""
    torch.manual_seed(1)
    return TrainingRun(member, random_clips(), fold=-1, device=DEVICE, precision="auto")


def _waited(call: Callable[[], object]) -> Callable[[], None]:
    """Wrap a call so that it waits until the device has finished."""

    def wait() -> None:
        call()
        if GPU:
            torch.cuda.synchronize()

    return wait


class PlainRun(TrainingRun):
    """The same training in float32, channels first, with attention through positions x positions."""

    def __init__(self, member: Member):
        super().__init__(member, random_clips(), fold=-1, device=DEVICE, precision="float32")
        self.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        for module in self.network.modules():
            if isinstance(module, SimpleSelfAttention):
                module.forward = partial(_attend_as_written, module)  # type: ignore[method-assign]

    def batch(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return a random batch, channels first."""
        pictures, targets, partners, share = super().batch()
        return pictures.contiguous(), targets, partners, share


def _attend_as_written(attention: SimpleSelfAttention, x: Tensor) -> Tensor:
    positions = x.flatten(2)  # (B, C, N)
    scores = positions.transpose(1, 2) @ attention.convolution(positions)  # (B, N, N)
    return x + attention.gamma * (positions @ scores).view_as(x)


def step() -> Row:
    """Compare the crops per second of a training step of xresnet18ssa with those of a plain one."""
    ours, other = race(_waited(run_of(STEP).train_step), _waited(PlainRun(STEP).train_step), rounds=ROUNDS)
    return Row(STEP.batch_size / ours, STEP.batch_size / other, "crops/s", "float32, channels first, plain attention")


def batch() -> Row:
    """Compare the milliseconds for making a batch with those of a whole training step, of which it is a part."""
    run = run_of(STEP)
    ours, other = race(_waited(run.batch), _waited(run.train_step), rounds=ROUNDS)
    return Row(1000 * ours, 1000 * other, "ms", "the whole training step")


def prediction() -> Row:
    """Compare the clips per second of predicting 200 clips at once with one clip at a time in float32."""
    member = STEP if GPU else replace(STEP, size=64)
    torch.manual_seed(1)
    network = move(NETWORKS[member.network](VIEWS * len(CLASSES)), DEVICE).eval()
    model = Model(network, member, CLASSES, fold=-1)
    data = random_clips()

    def one_at_a_time() -> None:
        for start, end in zip(data.offsets[:-1], data.offsets[1:], strict=True):
            score_clips(model, data.frames[start:end], np.array([0, end - start]), precision="float32", label=None)

    ours, other = race(lambda: score_clips(model, data.frames, data.offsets, label=None), one_at_a_time, rounds=3)
    return Row(CLIPS / ours, CLIPS / other, "clips/s", "one clip at a time, float32")


ROWS: dict[str, Callable[[], Row]] = {"step": step, "batch": batch, "prediction": prediction}
