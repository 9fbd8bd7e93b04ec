import csv

import numpy as np
import pytest
import soundfile

from audiotagging.base.errors import UserError
from audiotagging.demo import CLASSES, RATE, clip, write_dataset


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "demo"
    write_dataset(folder, curated=40, noisy=20, test=30)
    return folder


def test_the_layout_is_the_competitions(folder):
    for part in ("train_curated", "train_noisy"):
        listed = {row["fname"] for row in rows(folder / f"{part}.csv")}
        assert listed == {path.name for path in (folder / part).iterdir()}
    submission, labelled = rows(folder / "sample_submission.csv"), rows(folder / "test_post_competition.csv")
    assert list(submission[0]) == ["fname", *sorted(CLASSES)]
    assert [row["fname"] for row in submission] == [row["fname"] for row in labelled]
    assert {row["usage"] for row in labelled} == {"Public", "Private"}


def test_clips_are_pcm_of_the_right_length_and_some_have_two_labels(folder):
    for path in folder.glob("*/*.wav"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (RATE, 1, "PCM_16")
        assert 0.29 <= info.duration <= 8
    counts = [len(row["labels"].split(",")) for row in rows(folder / "train_curated.csv")]
    assert set(counts) == {1, 2}


def test_the_same_seed_gives_the_same_bytes(folder, tmp_path):
    write_dataset(tmp_path / "again", curated=40, noisy=20, test=30)
    for path in folder.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(folder)).read_bytes()


@pytest.mark.parametrize("label", CLASSES)
@pytest.mark.parametrize("seconds", [0.3, 8.0])
def test_every_class_is_heard_over_its_background(label, seconds):
    samples = clip(np.random.default_rng(7), [label], seconds)
    assert len(samples) == int(seconds * RATE)
    assert 0.04 < np.abs(samples).max() < 1 and np.isfinite(samples).all()


def test_an_existing_folder_is_left_alone(folder):
    with pytest.raises(UserError, match="exists already"):
        write_dataset(folder)
