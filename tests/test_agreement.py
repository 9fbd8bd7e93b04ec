from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from audiotagging.agreement import read_selection, select_noisy
from audiotagging.members import Member
from audiotagging.selection import read_list
from audiotagging.shards import ShardWriter, read_clips
from audiotagging.training import train

CLASSES = ["high", "low", "middle"]
MEMBER = Member(
    id="m", network="xresnet18ssa", loss="focal", epochs=6, epoch_size=10, size=32, frames=32, batch_size=16, lr=0.003
)


@pytest.fixture(scope="module")
def spectrograms(tmp_path_factory):
    """Clips with a bright band where their class says; every third noisy clip has a wrong label."""
    folder = tmp_path_factory.mktemp("agreement") / "spectrograms"
    rng = np.random.default_rng(5)
    with ShardWriter(folder, classes=CLASSES) as writer:
        for part, count in [("curated", 60), ("noisy", 48)]:
            for number in range(count):
                sound = number % 3
                picture = rng.integers(0, 60, (64, 128), dtype=np.uint8)
                picture[:, [100, 20, 60][sound] : [100, 20, 60][sound] + 12] += 150
                label = CLASSES[(sound + 1) % 3] if part == "noisy" and number % 9 < 3 else CLASSES[sound]
                fold = number // 3 % 5 if part == "curated" else -1
                writer.add(
                    clip=f"{part}{number:02}.wav", part=part, labels=[label], fold=fold, usage="", spectrogram=picture
                )
    return folder


def test_agreement_takes_the_clips_whose_labels_are_right(spectrograms, tmp_path):
    select_noisy(spectrograms, judge=MEMBER, out=tmp_path / "out", seed=1)
    chosen = read_selection(tmp_path / "out")
    wrong = {f"noisy{number:02}.wav" for number in range(48) if number % 9 < 3}
    assert len(chosen) >= 9 and not wrong & set(chosen)
    clips = read_clips(spectrograms).set_index("clip")
    assert clips.loc[chosen, "labels"].str[0].value_counts().max() <= 4  # a quarter of 16
    assert read_list(tmp_path / "out" / "noisy.csv", list(clips.index)) == set(chosen)
    assert (tmp_path / "out" / "judge" / "weights.safetensors").exists()


def test_without_a_judge_all_are_taken(spectrograms, tmp_path):
    select_noisy(spectrograms, judge=None, out=tmp_path / "out")
    assert read_selection(tmp_path / "out") == [f"noisy{number:02}.wav" for number in range(48)]


def test_training_takes_the_chosen_noisy_clips_only(spectrograms, tmp_path):
    short = replace(MEMBER, epochs=1, epoch_size=2)
    for name, noisy_clips in [("none", []), ("unknown", ["unknown.wav"]), ("all", None)]:
        train(short, fold=-1, spectrograms=spectrograms, out=tmp_path / name, noisy_clips=noisy_clips)
    none, unknown, every = (
        pd.read_parquet(tmp_path / name / "history.parquet")["loss"] for name in ("none", "unknown", "all")
    )
    assert none.equals(unknown) and not none.equals(every)
