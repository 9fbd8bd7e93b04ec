import numpy as np
import pandas as pd
import pytest

from audiotagging.artifacts.selection import (
    DEALT_FOLDS,
    describe_choice,
    read_folds,
    read_list,
    read_noisy_clips,
    with_folds,
)
from audiotagging.artifacts.spectrogram_shards import ShardWriter
from audiotagging.statistics.stratification import stratify
from audiotagging.training.select import select

CURATED = [f"curated{number}.wav" for number in range(20)]
NOISY = [f"noisy{number}.wav" for number in range(6)]
LABELS = [[["bark", "meow", "purr"][number % 3]] for number in range(20)]


@pytest.fixture(params=["dealt", "own"])
def folds(request):
    """The folds of the data's own table, if there are any."""
    return [number % 3 for number in range(20)] if request.param == "own" else [-1] * 20


@pytest.fixture
def spectrograms(tmp_path, folds):
    """Shards of twenty curated clips, five noisy ones, of which a sixth could not be used, and a test clip."""
    blank = np.zeros((128, 128), np.uint8)
    with ShardWriter(tmp_path / "spectrograms", classes=["bark", "meow", "purr"]) as writer:
        for clip, labels, fold in zip(CURATED, LABELS, folds, strict=True):
            writer.add(clip=clip, part="curated", labels=labels, fold=fold, usage="", seconds=2.0, spectrogram=blank)
        for clip in NOISY:
            if clip == "noisy1.wav":
                writer.reject(clip=clip, part="noisy", reason="cannot be decoded")
            else:
                writer.add(clip=clip, part="noisy", labels=["bark"], fold=-1, usage="", seconds=2.0, spectrogram=blank)
        writer.add(clip="test.wav", part="test", labels=[], fold=-1, usage="", seconds=2.0, spectrogram=blank)
    return tmp_path / "spectrograms"


def test_the_tables_own_folds_win_over_dealt_ones(spectrograms, folds, tmp_path):
    for seed in (1, 2):
        select(spectrograms, noisy_choice={"noisy": "none"}, seed=seed, out=tmp_path / str(seed))
        dealt = stratify(CURATED, LABELS, shares=[1] * DEALT_FOLDS, seed=seed).tolist()
        assert read_folds(tmp_path / str(seed)) == dict(zip(CURATED, folds if folds[0] >= 0 else dealt, strict=True))


@pytest.mark.parametrize(
    ("noisy", "expected"),
    [
        ("all", [0, 2, 3, 4, 5]),
        ("none", []),
        ("names.txt", [2, 5]),
        ("good_idx.csv", [2, 5]),  # rows of the table count, though a clip before them could not be used
    ],
)
def test_the_chosen_noisy_clips_are_written_in_the_order_of_their_table(spectrograms, tmp_path, noisy, expected):
    (tmp_path / "names.txt").write_text("noisy5.wav\nnoisy1.wav\nnoisy2.wav\n")
    (tmp_path / "good_idx.csv").write_text("idx\n1\n2\n5\n")
    choice = describe_choice(noisy, folder=tmp_path)
    select(spectrograms, noisy_choice=choice, seed=1, out=tmp_path / "selection")
    chosen = list(read_noisy_clips(tmp_path / "selection")["fname"])
    assert chosen == [NOISY[number] for number in expected]
    if chosen:  # it can be given as a list to a later run
        assert read_list(tmp_path / "selection" / "noisy.csv", NOISY) == set(chosen)


def test_folds_are_those_of_curated_clips_alone():
    clips = pd.DataFrame({"clip": ["a", "b", "c"], "part": ["curated", "noisy", "curated"], "fold": [7, 7, 7]})
    found = with_folds(clips, {"a": 2, "c": 0})
    assert found["fold"].tolist() == [2, -1, 0] and found["fold"].dtype == np.int8
