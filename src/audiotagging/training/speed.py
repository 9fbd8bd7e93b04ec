"""Measures how fast this machine trains, and prints it: crops of xresnet18ssa at 64 pixels in a second.

On a CPU that is the speed of one thread, because several wait for each other where other programs compute too.
"""

import time

import numpy as np
import pandas as pd
import torch

from audiotagging.artifacts.mels import MELS
from audiotagging.artifacts.spectrogram_shards import Spectrograms
from audiotagging.members import Member
from audiotagging.training.devices import best_device
from audiotagging.training.loop import TrainingRun

MEMBER = Member(id="speed", network="xresnet18ssa", loss="bce", epochs=1000, size=64, batch_size=32, epoch_size=10)
WARM_UP, MEASURED = 1.0, 2.0  # seconds


def measure_speed() -> float:
    """Return the crops per second of training xresnet18ssa on noise, with one thread or on a GPU."""
    torch.set_num_threads(1)
    frames = np.random.default_rng(1).integers(0, 256, (32 * 300, MELS), dtype=np.uint8)
    names = [f"{clip}.wav" for clip in range(32)]
    clips = pd.DataFrame({"clip": names, "part": "curated", "labels": [["a"], ["b"]] * 16, "fold": -1})
    data = Spectrograms(clips, frames, np.arange(33, dtype=np.int64) * 300, ["a", "b"])
    run = TrainingRun(MEMBER, data, fold=-1, device=best_device(), precision="auto")
    _steps(run, WARM_UP)
    steps, seconds = _steps(run, MEASURED)
    return steps * MEMBER.batch_size / seconds


def _steps(run: TrainingRun, seconds: float) -> tuple[int, float]:
    """Train for some seconds, and return the number of steps and the seconds that they took."""
    first, started = run.step, time.monotonic()
    while time.monotonic() - started < seconds:
        for _ in range(MEMBER.epoch_size):
            run.train_step()
        run.check()  # waits for the device
    return run.step - first, time.monotonic() - started


if __name__ == "__main__":
    print(measure_speed())
