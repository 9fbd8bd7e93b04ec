"""Spectrograms of curated and noisy clips, a third of the latter with a wrong label, and a member that learns them."""

import numpy as np

from audiotagging.artifacts.spectrogram_shards import ShardWriter
from audiotagging.members import Member

CLASSES = ["high", "low", "middle"]
MEMBER = Member(
    id="m", network="xresnet18ssa", loss="focal", epochs=6, epoch_size=40, size=32, frames=32, batch_size=16, lr=0.01
)


def write_spectrograms(folder, *, loudness=0):
    """Write clips with a bright band where their class says; every third noisy clip has a wrong label.

    `loudness` is added to the noisy clips.
    """
    rng = np.random.default_rng(5)
    with ShardWriter(folder, classes=CLASSES) as writer:
        for part, count in [("curated", 60), ("noisy", 48)]:
            for number in range(count):
                sound = number % 3
                picture = rng.integers(0, 60, (64, 128), dtype=np.uint8)
                picture[:, [100, 20, 60][sound] : [100, 20, 60][sound] + 12] += 150
                if part == "noisy":
                    picture = np.minimum(picture, 255 - loudness) + np.uint8(loudness)
                label = CLASSES[(sound + 1) % 3] if part == "noisy" and number % 9 < 3 else CLASSES[sound]
                fold = number // 3 % 5 if part == "curated" else -1
                writer.add(
                    clip=f"{part}{number:02}.wav",
                    part=part,
                    labels=[label],
                    fold=fold,
                    usage="",
                    seconds=2.0,
                    spectrogram=picture,
                )
    return folder
