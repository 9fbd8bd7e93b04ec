from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiotagging.artifacts.noisy_clips import read_noisy_clips
from audiotagging.artifacts.spectrogram_shards import ShardWriter, read_clips
from audiotagging.data.clip_lists import read_list
from audiotagging.members import Member
from audiotagging.training.noisy_selection import agreeing, margins, select_noisy
from audiotagging.training.train import train

CLASSES = ["high", "low", "middle"]
MEMBER = Member(
    id="m", network="xresnet18ssa", loss="focal", epochs=6, epoch_size=10, size=32, frames=32, batch_size=16, lr=0.003
)


@pytest.fixture(scope="module")
def spectrograms(tmp_path_factory):
    return write_spectrograms(tmp_path_factory.mktemp("agreement") / "spectrograms")


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
                    clip=f"{part}{number:02}.wav", part=part, labels=[label], fold=fold, usage="", spectrogram=picture
                )
    return folder


def test_agreement_takes_the_clips_whose_labels_are_right(spectrograms, tmp_path):
    select_noisy(spectrograms, judge=MEMBER, out=tmp_path / "out", seed=1)
    chosen = list(read_noisy_clips(tmp_path / "out")["fname"])
    wrong = {f"noisy{number:02}.wav" for number in range(48) if number % 9 < 3}
    assert len(chosen) >= 9 and not wrong & set(chosen)
    clips = read_clips(spectrograms).set_index("clip")
    assert clips.loc[chosen, "labels"].str[0].value_counts().max() <= 4  # a quarter of 16
    assert read_list(tmp_path / "out" / "noisy.csv", list(clips.index)) == set(chosen)
    assert (tmp_path / "out" / "judge" / "weights.safetensors").exists()


def test_the_judge_never_saw_the_noisy_clips(tmp_path):
    """What they sound like and how they are labelled changes nothing in its weights."""
    judge = replace(MEMBER, epochs=2, epoch_size=2)
    for name, loudness in (("one", 0), ("other", 90)):
        write_spectrograms(tmp_path / name / "spectrograms", loudness=loudness)
        select_noisy(tmp_path / name / "spectrograms", judge=judge, out=tmp_path / name / "out", seed=1)
    one, other = ((tmp_path / name / "out" / "judge" / "weights.safetensors").read_bytes() for name in ("one", "other"))
    assert one == other


def test_without_a_judge_all_are_taken(spectrograms, tmp_path):
    select_noisy(spectrograms, judge=None, out=tmp_path / "out")
    assert list(read_noisy_clips(tmp_path / "out")["fname"]) == [f"noisy{number:02}.wav" for number in range(48)]


def test_training_takes_the_chosen_noisy_clips_only(spectrograms, tmp_path):
    short = replace(MEMBER, epochs=1, epoch_size=2)
    for name, noisy_clips in [("none", []), ("unknown", ["unknown.wav"]), ("all", None)]:
        train(short, fold=-1, spectrograms=spectrograms, out=tmp_path / name, noisy_clips=noisy_clips)
    none, unknown, every = (
        pd.read_parquet(tmp_path / name / "history.parquet")["loss"] for name in ("none", "unknown", "all")
    )
    assert none.equals(unknown) and not none.equals(every)


def noisy_scores(seed, clips=200, classes=6):
    """Return labels, and scores that agree with about half of them."""
    rng = np.random.default_rng(seed)
    truth = rng.random((clips, classes)) < 0.2
    truth[np.arange(clips), rng.integers(0, classes, clips)] = True
    return truth, (rng.random((clips, classes)) + 0.5 * truth).astype(np.float32)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.25, 1.0]))
def test_chosen_clips_have_their_labels_on_top_and_no_class_has_more_than_its_share(seed, max_share):
    truth, scores = noisy_scores(seed)
    chosen = agreeing(truth, scores, max_share=max_share)
    on_top = np.array(
        [
            set(np.argsort(-row)[: labels.sum()]) == set(np.flatnonzero(labels))
            for labels, row in zip(truth, scores, strict=True)
        ]
    )
    assert chosen.any() and not (chosen & ~on_top).any()
    full = truth[chosen].sum(axis=0) >= np.ceil(max_share * truth.sum(axis=0))
    assert (truth[chosen].sum(axis=0) <= np.ceil(max_share * truth.sum(axis=0))).all()
    # What agrees and was left out has a class that has its share, of clips that agree at least as well.
    margin = margins(truth, scores)
    for clip in np.flatnonzero(on_top & ~chosen):
        assert any(
            full[label] and margin[chosen & truth[:, label]].min() >= margin[clip]
            for label in np.flatnonzero(truth[clip])
        )


def test_the_choice_follows_the_clips_not_their_order():
    truth, scores = noisy_scores(3)
    order = np.random.default_rng(4).permutation(len(truth))
    assert np.array_equal(agreeing(truth[order], scores[order]), agreeing(truth, scores)[order])


def test_equal_scores_do_not_agree():
    assert not agreeing(np.array([[True, False]]), np.array([[0.5, 0.5]])).any()
    assert agreeing(np.array([[True, True]]), np.array([[0.5, 0.5]])).all()
