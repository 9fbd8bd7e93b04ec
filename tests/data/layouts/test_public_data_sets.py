"""Public data sets as they are unpacked: their labels, folds, groups and test clips."""

import collections

import numpy as np
import pytest
import soundfile
from helpers import public_layouts

from audiotagging.data.dataset import read_dataset
from audiotagging.data.layouts.reading import Reading

VALIDATION = {0}
# By the function that writes it: the classes, the numbers of training and test clips, the folds and the number of
# groups; and what a clip is.
EXPECTED = {
    "esc50": (["cat", "dog"], 10, 0, {1, 2, 3, 4, 5}, 10),
    "urban_sound": (["cat", "dog"], 10, 0, {1, 2, 3, 4, 5}, 10),
    "fsd50k": (["Bark", "Cat", "Dog", "Meow"], 12, 4, {0, 1, 2, 3, 4}, 0),
    "kaggle_2018": (["Flute", "Hi-hat"], 12, 4, {-1}, 0),
    "zenodo_2018": (["Flute", "Hi-hat"], 12, 4, {0, 1, 2, 3, 4}, 16),
    "birdclef": (["cat", "cow", "dog", "owl"], 12, 0, {-1}, 0),
    "speech_commands": (["no", "yes"], 32, 4, {0, 1, 2, 3, 4}, 9),
    "audioset": (["Child speech and kid speaking", "Music", "Speech"], 8, 2, {-1}, 0),
    "scenes": (["airport", "bus"], 20, 4, {0, 1, 2, 3, 4}, 6),
    "old_scenes": (["beach", "bus"], 16, 0, {0, 1, 2, 3}, 8),
    "urban_sed": (["drilling", "siren"], 26, 6, {0, 1, 2, 3, 4}, 16),
    "desed": (["Dog", "Speech"], 16, 1, {0, 1, 2, 3, 4}, 9),
}


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "sound.wav"
    soundfile.write(path, np.random.default_rng(1).uniform(-0.5, 0.5, 12_000), 1000)  # twelve seconds
    return path


@pytest.fixture
def unpack(tmp_path, sound):
    """A function that writes a data set and returns its folder."""

    def write(layout, below="."):
        folder = tmp_path / "data"
        (folder / below).mkdir(parents=True)
        layout(folder / below, sound)
        return folder

    return write


def test_the_table_here_has_every_data_set():
    assert list(EXPECTED) == [layout.__name__ for layout in public_layouts.LAYOUTS]


@pytest.mark.parametrize("layout", public_layouts.LAYOUTS)
@pytest.mark.parametrize("below", [".", "archive-v1"])
def test_a_public_data_set_is_understood_as_it_is_unpacked(unpack, layout, below):
    if layout is public_layouts.speech_commands and below != ".":
        pytest.skip("classes are the first folders")
    dataset = read_dataset(unpack(layout, below))
    clips = dataset.clips
    training, test = clips[clips["part"] == "curated"], clips[clips["part"] == "test"]
    groups = set(clips["group"]) - {""}
    found = (dataset.classes, len(training), len(test), set(training["fold"].astype(int)), len(groups))
    assert found == EXPECTED[layout.__name__]
    assert all(training["labels"].str.len() > 0)


def clips_of(folder):
    return read_dataset(folder).clips.set_index("clip")


def test_validation_clips_are_those_of_the_data_set(unpack):
    clips = clips_of(unpack(public_layouts.fsd50k))
    assert set(clips.index[clips["fold"] == 0]) == {f"FSD50K.dev_audio/{number}.wav" for number in (0, 1)}


def test_labels_of_placeholders_are_none_and_public_test_clips_are_known(unpack):
    assert collections.Counter(clips_of(unpack(public_layouts.zenodo_2018))["usage"]) == {
        "": 12,
        "Public": 1,
        "Private": 3,
    }


def test_a_submission_has_no_labels(unpack):
    clips = clips_of(unpack(public_layouts.kaggle_2018))
    assert all(len(labels) == 0 for labels in clips["labels"][clips["part"] == "test"])


def test_secondary_labels_are_labels(unpack):
    clips = clips_of(unpack(public_layouts.birdclef))
    assert clips.loc["train_audio/cat/XC1.ogg", "labels"] == ["cat", "owl", "cow"]
    assert clips.loc["train_audio/dog/XC0.ogg", "labels"] == ["dog"]


def test_speakers_are_groups_and_noise_is_no_class(unpack):
    folder = unpack(public_layouts.speech_commands)
    clips = clips_of(folder)
    assert set(clips["group"][clips["part"] == "test"]) == {"00000001"}
    assert set(clips["group"][clips["fold"] == 0]) == {"00000000"}
    clips = read_dataset(folder, reading=Reading(negatives=("_background_noise_",))).clips
    assert list(clips["clip"][clips["usage"] == "Negative"]) == ["_background_noise_/white_noise.wav"]


def test_segments_are_found_by_their_video(unpack):
    clips = clips_of(unpack(public_layouts.audioset))
    assert clips.loc["clips/-video00009_30.000.wav", "labels"] == ["Music", "Speech"]
    assert clips.loc["clips/Y-video00008.wav", ["part", "labels"]].tolist() == [
        "test",
        ["Child speech and kid speaking"],
    ]


def test_the_places_of_scenes_are_groups_and_clips_in_no_list_are_left_out(unpack):
    clips = clips_of(unpack(public_layouts.scenes))
    assert set(clips["group"][clips["part"] == "test"]) == {"vienna-3"}
    assert not any("milan" in clip for clip in clips.index)


def test_events_are_pieces_of_their_recordings(unpack):
    folder = unpack(public_layouts.urban_sed)
    clips = clips_of(folder)
    one = clips[clips["group"] == "audio/validate/soundscape_validate_bimodal0.wav"]
    assert [(row.start, row.end, *row.labels, row.fold) for row in one.itertuples()] == [
        (0, 1.1, "siren", 0),
        (1.5, 4, "drilling", 0),
    ]


def test_weak_and_strong_labels_are_told_apart_by_their_folders(unpack):
    clips = clips_of(unpack(public_layouts.desed))
    weak, strong = "audio/train/weak/Y00000000000_0.000_10.000.wav", "audio/train/strong_label_real/Y00000000000_0"
    assert clips.loc[weak, "labels"] == ["Speech"] and clips.loc[weak, "end"] == float("inf")
    assert clips.loc[f"{strong}.000_10.000.wav@0.500-3.000", "labels"] == ["Dog"]
    made = [clip for clip in clips.index if "/synthetic21_validation/" in clip]
    assert len(made) == 2 and set(clips.loc[made, "fold"]) == {0}
