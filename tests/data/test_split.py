from collections import Counter

import pytest
from helpers.data_folder import write_table

import pipeline
from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.data.dataset import DataError, fingerprint, read_dataset
from commands import main
from commands.parameters import SEED

CLASSES = ("bird", "cat", "dog")
NAMES = [f"{label}/{number:02}.wav" for label in CLASSES for number in range(10)]


@pytest.fixture
def folder(sounds):
    return sounds(*NAMES, seconds=0.01)


def drawn_of(clips):
    return set(clips["clip"][clips["part"] == "test"])


def write_groups(folder, group_of):
    table = [(name, name.partition("/")[0], group_of(name)) for name in NAMES]
    write_table(folder / "clips.csv", ("path", "labels", "group"), *table)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_every_class_gives_its_share_of_test_clips(folder, share):
    clips = read_dataset(folder, test_share=share, seed=1).clips
    counts = Counter(name.partition("/")[0] for name in drawn_of(clips))
    assert counts == dict.fromkeys(CLASSES, 10 * share)
    assert list(clips["part"]) == sorted(clips["part"]) and set(clips["clip"]) == set(NAMES)
    assert list(clips["labels"]) == [[name.partition("/")[0]] for name in clips["clip"]]


def test_the_draw_depends_on_the_seed_and_on_nothing_else(folder):
    drawn = [drawn_of(read_dataset(folder, test_share=0.2, seed=seed).clips) for seed in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1] and len(set(map(frozenset, drawn))) > 1
    (folder / "dog" / "notes.txt").touch()
    assert drawn_of(read_dataset(folder, test_share=0.2, seed=1).clips) == drawn[0]


def test_a_class_never_loses_its_last_training_clip(sounds):
    folder = sounds(*NAMES, "rare/0.wav", "two/0.wav", "two/1.wav", seconds=0.01)
    for seed in range(5):
        drawn = drawn_of(read_dataset(folder, test_share=0.3, seed=seed).clips)
        assert "rare/0.wav" not in drawn and len(drawn & {"two/0.wav", "two/1.wav"}) < 2


def test_groups_stay_together_in_the_draw_and_in_the_folds(folder):
    write_groups(folder, lambda name: f"night {int(name[-6:-4]) // 2}" if "bird" not in name else "")
    clips = read_dataset(folder, test_share=0.2, seed=1).clips
    grouped = clips[clips["group"] != ""]
    assert (grouped.groupby("group")[["part", "fold"]].nunique() == 1).all(axis=None)
    assert set(clips["fold"][clips["part"] == "curated"]) == set(range(5))
    assert set(clips["fold"][clips["part"] == "test"]) == {-1}
    assert drawn_of(clips) & set(clips["clip"][clips["group"] == ""])
    assert Counter(name.partition("/")[0] for name in drawn_of(clips)) == dict.fromkeys(CLASSES, 2)


def test_few_groups_fill_few_folds(folder, capsys):
    write_groups(folder, lambda name: f"night {int(name[-6:-4]) // 4}")
    options = ["check", "--verify", "0", "--data", str(folder)]
    assert main(pipeline.PIPELINES, [*options, "--folds", "0,1,2"]) == 0
    assert "3 groups of training clips fill at most 3 folds: there are folds 0, 1 and 2\n" in capsys.readouterr().out
    assert main(pipeline.PIPELINES, [*options, "--folds", "0,1,2,3,4"]) == 2
    printed = capsys.readouterr().out
    assert "in folds 3 and 4, which are to be held out: the clips are in 3 folds (their 3 groups stay" in printed
    assert "--folds 0,1,2\n" in printed


RARE = (
    "1 class in one fold only, so that no model that holds it out is trained on it: 'cat' ({}); left out of the "
    "out-of-fold scores, the fitted weights, the thresholds and the suspicious labels"
)


@pytest.mark.parametrize("column", ["group", "fold"])
def test_classes_in_fewer_folds_than_there_are_are_named(folder, column):
    """Cats are in one group or fold, dogs in two, and birds in five."""
    spread = {"cat": 1, "dog": 2, "bird": 5}
    table = [(name, label, number % spread[label]) for label, name, number in map(parts_of, NAMES)]
    write_table(folder / "clips.csv", ("path", "labels", column), *table)
    _, *notes = read_dataset(folder, seed=1).notes  # the first says how the table was understood
    assert len(notes) == 2 and RARE.partition("'cat'")[0] in notes[0] and "in fewer than the 5 folds: 'dog'" in notes[1]
    if column == "fold":
        assert RARE.format("10 clips in fold 0") in notes[0] and "'dog' (10 clips in folds 0 and 1)" in notes[1]
    else:
        assert "'cat' (1 group in fold " in notes[0] and "'dog' (2 groups in folds " in notes[1]


def parts_of(name):
    label, _, file = name.partition("/")
    return label, name, int(file[:2])


@pytest.mark.parametrize(
    ("clips", "expected"), [(1, RARE.format("1 clip")), (4, "in fewer than the 5 folds: 'cat' (4 clips)")]
)
def test_classes_with_fewer_clips_than_folds_are_named(sounds, clips, expected):
    dogs = [f"dog/{number}.wav" for number in range(8)]
    [note] = read_dataset(sounds(*dogs, *(f"cat/{number}.wav" for number in range(clips)), seconds=0.01)).notes
    assert note.endswith(expected)


def test_a_fold_of_which_nothing_can_be_scored_cannot_be_held_out(folder, capsys):
    folds = {"bird": 0, "cat": 1}
    table = [(name, label, folds.get(label, number % 2 + 2)) for label, name, number in map(parts_of, NAMES)]
    write_table(folder / "clips.csv", ("path", "labels", "fold"), *table)
    assert main(pipeline.PIPELINES, ["check", "--verify", "0", "--data", str(folder), "--folds", "2,3"]) == 0
    assert main(pipeline.PIPELINES, ["check", "--verify", "0", "--data", str(folder), "--folds", "1,2"]) == 2
    assert "no class of the clips in fold 1 (cat) is in another fold" in capsys.readouterr().out


def test_a_share_that_draws_no_clip_of_a_class_names_it(folder):
    write_groups(folder, lambda name: "night" if "cat" in name else "")
    notes = read_dataset(folder, test_share=0.2, seed=1).notes
    assert (
        "--test-share 0.2 draws no clip of 1 class, so that no score on test clips counts it: 'cat' (1 group)" in notes
    )


def test_one_group_can_be_trained_on_but_not_held_out(folder, capsys):
    write_groups(folder, lambda name: "night")
    assert main(pipeline.PIPELINES, ["check", "--verify", "0", "--data", str(folder)]) == 0
    fold = read_dataset(folder, seed=SEED).clips["fold"][0]
    assert main(pipeline.PIPELINES, ["check", "--verify", "0", "--data", str(folder), "--folds", str(fold)]) == 2
    assert "none is left to train on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("names", "share", "expected"),
    [
        (["test/dog/0.wav"], 0.2, "the data have 1 test clips already"),
        (
            [],
            1.0,
            "--test-share 1 draws every clip of 3 classes, so that none is left to train on: 'bird' .10 clips., ",
        ),
    ],
)
def test_a_share_that_cannot_be_drawn(folder, sounds, names, share, expected):
    sounds(*names)
    with pytest.raises(DataError, match=expected):
        read_dataset(folder, test_share=share)


def test_all_stages_draw_the_same_clips(folder, tmp_path, capsys):
    options = ["--data", str(folder), "--test-share", "0.2", "--seed", "7"]
    dataset = read_dataset(folder, test_share=0.2, seed=7)
    assert main(pipeline.PIPELINES, ["check", "--verify", "0", *options]) == 0
    assert f"fingerprint {fingerprint(dataset)}\n" in capsys.readouterr().out
    assert main(pipeline.PIPELINES, ["preprocess", *options, "--out", str(tmp_path / "out"), "--workers", "1"]) == 0
    assert drawn_of(read_clips(tmp_path / "out")) == drawn_of(dataset.clips)


def test_test_clips_that_change_with_the_data_are_nothing_to_compare_champions_on(folder, capsys):
    options = ["--data", str(folder), "--out", str(folder.parent / "out"), "--test-share", "0.2"]
    assert main(pipeline.PIPELINES, ["run", *options, "--champions", str(folder.parent / "champions")]) == 2
    assert "the champion may have been trained on them" in capsys.readouterr().err
