from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.noisy_spectrograms import MEMBER, write_spectrograms
from hypothesis import given
from hypothesis import strategies as st

from audiotagging.artifacts.model_folder import read_facts, weights_path
from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.training.judge import agreeing, judge_noisy_clips, margins
from audiotagging.training.train import train

pytestmark = pytest.mark.usefixtures("narrow_networks")


@pytest.fixture(scope="module")
def spectrograms(tmp_path_factory):
    return write_spectrograms(tmp_path_factory.mktemp("agreement") / "spectrograms")


def test_agreement_takes_the_clips_whose_labels_are_right(spectrograms, tmp_path):
    clips = read_clips(spectrograms).set_index("clip")
    folds = clips["fold"][clips["part"] == "curated"].to_dict()
    chosen = judge_noisy_clips(spectrograms, member=MEMBER, folds=folds, seed=1, model=tmp_path / "judge")
    wrong = {f"noisy{number:02}.wav" for number in range(48) if number % 9 < 3}
    assert len(chosen) >= 9 and not wrong & set(chosen["fname"]) and (chosen["margin"] > 0).all()
    assert clips.loc[chosen["fname"], "labels"].str[0].value_counts().max() <= 4  # a quarter of 16
    facts = read_facts(tmp_path / "judge")
    assert facts.member == replace(MEMBER, id="judge", epochs=3) and (facts.fold, facts.seed) == (0, 1)


def test_the_judge_never_saw_the_noisy_clips(tmp_path):
    """What they sound like and how they are labelled changes nothing in its weights."""
    options = {"member": replace(MEMBER, epochs=2, epoch_size=2), "seed": 1}
    for name, loudness in (("one", 0), ("other", 90)):
        clips = read_clips(write_spectrograms(tmp_path / name, loudness=loudness))
        folds = clips.set_index("clip")["fold"][:60].to_dict()
        judge_noisy_clips(tmp_path / name, **options, folds=folds, model=tmp_path / f"{name} judge")
    one, other = (weights_path(tmp_path / f"{name} judge").read_bytes() for name in ("one", "other"))
    assert one == other


def test_training_takes_the_chosen_noisy_clips_only(spectrograms, tmp_path):
    short = replace(MEMBER, epochs=1, epoch_size=2)
    for name, noisy_clips in [("none", []), ("unknown", ["unknown.wav"]), ("all", None)]:
        train(short, fold=-1, spectrograms=spectrograms, out=tmp_path / name, seed=1, noisy_clips=noisy_clips)
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
