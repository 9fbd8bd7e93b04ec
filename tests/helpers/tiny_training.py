"""Small trainings: their clips, their members, and a comparison of their weights."""

from dataclasses import replace

import numpy as np
import torch

from audiotagging.artifacts.spectrogram_shards import ShardWriter
from audiotagging.members import Member
from audiotagging.training.loop import TrainingRun

CLASSES = ["hum", "whine", "hiss", "rumble"]
TINY = Member(
    id="tiny", network="xresnet18ssa", loss="focal", epochs=2, cycles=2, size=32, batch_size=4, epoch_size=3, lr=0.001
)
SHORT = replace(TINY, epochs=1, cycles=1)


def write_shards(folder, *, curated=20, noisy=4, test=2):
    """Write clips that have a band of mels for each of their labels."""
    rng = np.random.default_rng(1)
    parts = ["curated"] * curated + ["noisy"] * noisy + ["test"] * test
    with ShardWriter(folder, classes=CLASSES, metadata={"fingerprint": "abc"}) as writer:
        for number, part in enumerate(parts):
            spectrogram = rng.integers(0, 80, (rng.integers(128, 200), 128), np.uint8)
            labels = {number % 4, number // 4 % 4}
            for label in labels:
                spectrogram[:, 10 + 30 * label : 30 + 30 * label] += 120
            writer.add(
                clip=f"{number}.wav",
                part=part,
                labels=[CLASSES[label] for label in labels],
                fold=number % 5 if part == "curated" else -1,
                usage="",
                seconds=2.0,
                spectrogram=spectrogram,
            )
    return folder


def assert_same_weights(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def start(member, data, *, fold=-1, seed=1):
    torch.manual_seed(seed)
    return TrainingRun(member, data, fold=fold, device=torch.device("cpu"), precision="float32")
