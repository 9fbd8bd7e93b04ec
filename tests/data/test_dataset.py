import os
import shutil

import pytest
from helpers.data_folder import CLASSES, write_table

from audiotagging.data.dataset import DataError, fingerprint, read_dataset


def damage(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1), newline="")


def test_clips_come_in_the_order_of_their_tables(data):
    dataset = read_dataset(data)
    clips = dataset.clips
    assert dataset.classes == CLASSES and dataset.notes == [
        "train_curated.csv: 1 class in fewer than the 5 folds: 'Tap_running' (3 clips)"
    ]
    assert list(clips["part"]) == ["curated"] * 12 + ["noisy"] * 4 + ["test"] * 3
    assert list(clips["clip"][:2]) == ["c00.wav", "c01.wav"] and list(clips["clip"][-1:]) == ["t2.wav"]
    assert clips["path"][12] == str(data / "train_noisy" / "n0.wav")
    assert clips["labels"][0] == ["Bark", "Meow"] and clips["labels"][17] == ["Bark", "Meow"]
    assert list(clips["usage"][-3:]) == ["Public", "Private", "Private"] and set(clips["usage"][:-3]) == {""}
    assert clips["fold"].dtype == "int8" and set(clips["fold"]) == {-1}


@pytest.mark.parametrize(
    ("break_it", "expected"),
    [
        (lambda d: shutil.rmtree(d), "no such folder"),
        (lambda d: (d / "train_curated.csv").unlink(), "train_curated.csv is missing"),
        (lambda d: damage(d / "train_curated.csv", "labels", "tags"), "train_curated.csv has no column 'labels'"),
        (lambda d: damage(d / "train_noisy.csv", "labels", "fname"), "train_noisy.csv has no column 'labels'"),
        (lambda d: damage(d / "train_noisy.csv", "fname,labels", "fname;labels"), "separate columns by commas"),
        (lambda d: damage(d / "sample_submission.csv", "Meow", "Bark"), "the column 'Bark' more than once"),
        (lambda d: damage(d / "train_curated.csv", '"Bark,Meow"', "Bark,Meow"), "line 2: expected 2 fields, found 3"),
        (lambda d: (d / "train_curated.csv").write_text(""), "train_curated.csv is empty"),
        (lambda d: (d / "train_curated.csv").write_text("fname,labels\n"), "train_curated.csv has no rows"),
        (lambda d: (d / "train_noisy.csv").write_bytes(b"fname,labels\nn0.wav,B\xe4rk"), "line 2: expected UTF-8"),
        (lambda d: damage(d / "train_curated.csv", "c01.wav", ""), "train_curated.csv line 3: fname is empty"),
        (lambda d: damage(d / "train_curated.csv", "c01.wav", "c00.wav"), "c00.wav is listed already in line 2"),
        (lambda d: damage(d / "train_curated.csv", "c01.wav", "../test/t0.wav"), "line 3: fname must be the name"),
        (lambda d: damage(d / "train_curated.csv", "c01.wav", "/etc/passwd"), "line 3: fname must be the name"),
        (lambda d: damage(d / "train_curated.csv", "c01.wav", "..\\t0.wav"), "line 3: fname must be the name"),
        (lambda d: damage(d / "train_curated.csv", "c01.wav", "c\0.wav"), "line 3: expected text"),
        (
            lambda d: damage(d / "train_curated.csv", "c01.wav,Meow", "c01.wav,Miaow"),
            "line 3: 'Miaow' is not a class of",
        ),
        (
            lambda d: damage(d / "train_noisy.csv", "n0.wav,Bark", "n0.wav,"),
            "train_noisy.csv line 2: the clip has no label",
        ),
        (lambda d: (d / "train_noisy" / "n3.wav").unlink(), "train_noisy.csv line 5: n3.wav is not in train_noisy/"),
        (lambda d: shutil.rmtree(d / "train_noisy"), "train_noisy/ is missing or empty; put 4 clips"),
        (lambda d: damage(d / "test_post_competition.csv", "Public", "public"), "usage must be Public or Private"),
        (lambda d: damage(d / "sample_submission.csv", "Meow", "Meow,"), "line 2: expected 5 fields, found 4"),
    ],
)
def test_a_problem_is_reported_in_one_line(data, break_it, expected):
    break_it(data)
    with pytest.raises(DataError) as error:
        read_dataset(data)
    assert expected in str(error.value) and str(data) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_empty_test_folder_is_wrong_and_a_missing_one_is_not(data):
    for name in ("sample_submission.csv", "test_post_competition.csv"):
        (data / name).unlink()
    shutil.rmtree(data / "test")
    assert set(read_dataset(data).clips["part"]) == {"curated", "noisy"}
    (data / "test").mkdir()
    with pytest.raises(DataError, match="test/ has no audio file"):
        read_dataset(data)


def test_all_problems_are_reported_at_once(data):
    damage(data / "train_curated.csv", "c01.wav,Meow", "c01.wav,Miaow")
    (data / "train_noisy" / "n3.wav").unlink()
    (data / "test" / "t2.wav").unlink()
    with pytest.raises(DataError, match=r"Miaow.*\(and 2 more") as error:
        read_dataset(data)
    assert len(error.value.problems) == 3


def test_a_missing_folder_is_one_problem_among_others(data):
    shutil.rmtree(data / "train_curated")
    damage(data / "train_curated.csv", "c01.wav,Meow", "c01.wav,Miaow")
    with pytest.raises(DataError) as error:
        read_dataset(data)
    assert [problem.split(";")[0] for problem in error.value.problems] == [
        "train_curated/ is missing or empty",
        "train_curated.csv line 3: 'Miaow' is not a class of sample_submission.csv",
    ]


def test_uneven_rows_are_reported_with_all_other_problems(data):
    damage(data / "train_curated.csv", '"Bark,Meow"', "Bark,Meow")
    (data / "train_noisy" / "n3.wav").unlink()
    with pytest.raises(DataError) as error:
        read_dataset(data)
    assert [problem.split(":")[0] for problem in error.value.problems] == [
        "train_curated.csv line 2",
        "train_noisy.csv line 5",
    ]


def test_a_class_without_curated_clips_is_wrong(data):
    table = data / "train_curated.csv"
    table.write_text(table.read_text().replace("Tap_running", "Bark"))
    with pytest.raises(DataError, match="the class 'Tap_running' has no curated clip"):
        read_dataset(data)


def test_one_class_is_refused(data):
    write_table(data / "train_curated.csv", ("fname", "labels"), *[(f"c{i:02}.wav", "Bark") for i in range(12)])
    (data / "sample_submission.csv").unlink()
    with pytest.raises(DataError, match="expected at least 2 classes to tell apart, found 1"):
        read_dataset(data, noisy="none")


def test_a_name_in_two_parts_is_wrong(data):
    damage(data / "train_noisy.csv", "n0.wav", "c00.wav")
    shutil.copy(data / "train_curated" / "c00.wav", data / "train_noisy")
    with pytest.raises(DataError, match=r"line 2: c00.wav is a clip of the curated part too"):
        read_dataset(data)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_encodings_and_line_ends(data, line_end, encoding):
    expected = read_dataset(data).clips
    for table in data.glob("*.csv"):
        text = table.read_text().replace("\n", line_end) + line_end
        table.write_text(text, encoding=encoding, newline="")
    assert read_dataset(data).clips.equals(expected)


def test_unlisted_files_are_noted(data):
    (data / "train_noisy" / "more.wav").touch()
    assert "train_noisy/: files that are not listed are left out: 'more.wav'" in read_dataset(data).notes


def test_without_a_submission_the_test_clips_are_the_files(data):
    (data / "sample_submission.csv").unlink()
    shutil.copy(data / "test" / "t0.wav", data / "test" / "extra.wav")
    (data / "test" / "readme.txt").touch()
    dataset = read_dataset(data)
    test = dataset.clips[dataset.clips["part"] == "test"]
    assert list(test["clip"]) == ["t0.wav", "t1.wav", "t2.wav", "extra.wav"]
    assert list(map(len, test["labels"])) == [1, 2, 1, 0] and dataset.classes == CLASSES


def test_a_file_with_an_impossible_name_cannot_be_a_test_clip(data):
    (data / "sample_submission.csv").unlink()
    shutil.copy(data / "test" / "t0.wav", data / "test" / "a\n.wav")
    shutil.copy(data / "test" / "t0.wav", os.fsencode(data / "test") + b"/\xff.wav")
    with pytest.raises(DataError) as error:
        read_dataset(data)
    assert error.value.problems == [f"test/: a clip cannot be called {name!r}" for name in ("a\n.wav", "\udcff.wav")]


def test_truth_and_submission_need_not_be_about_the_same_clips(data):
    damage(data / "test_post_competition.csv", "t1.wav", "t9.wav")
    dataset = read_dataset(data)
    assert [len(labels) for labels in dataset.clips["labels"][-3:]] == [1, 0, 1]
    assert dataset.notes[:2] == [
        "test_post_competition.csv: test clips that it does not list are not scored: 't1.wav'",
        "test_post_competition.csv: rows that are not of test clips are left out: 't9.wav'",
    ]


def test_zenodos_table_names(data):
    expected = read_dataset(data).clips
    for part in ("train_curated", "train_noisy"):
        (data / f"{part}.csv").rename(data / f"{part}_post_competition.csv")
    assert read_dataset(data).clips.equals(expected)


def test_known_bad_clips_are_left_out_of_the_data_set_that_has_them(data):
    damage(data / "train_curated.csv", "c00.wav", "f76181c4.wav")
    (data / "train_curated" / "c00.wav").rename(data / "train_curated" / "f76181c4.wav")
    dataset = read_dataset(data)
    assert "f76181c4.wav" not in set(dataset.clips["clip"])
    assert "1 clip known to be bad, left out: f76181c4.wav (wrong labels)" in dataset.notes[0]


def write_folds(data, folds):
    rows = [(f"c{number:02}.wav", CLASSES[number % 3], fold) for number, fold in enumerate(folds)]
    write_table(data / "train_curated.csv", ("fname", "labels", "fold"), *rows)


@pytest.mark.parametrize("folds", [[0, 1, 2] * 4, [0] * 6 + [127] * 6])
def test_a_fold_column_wins(data, folds):
    write_folds(data, folds)
    assert list(read_dataset(data).clips["fold"][:12]) == folds


@pytest.mark.parametrize(
    ("folds", "expected"),
    [
        ([0, 1, -1] * 4, "line 4: fold must be a number from 0 to 127, found '-1'"),
        (["1.0", 0, 1] * 4, "line 2: fold must be"),
        ([0, 128, 1] * 4, "line 3: fold must be"),
        ([3] * 12, "expected at least 2 folds in the column fold, found 1"),
    ],
)
def test_a_wrong_fold_column(data, folds, expected):
    write_folds(data, folds)
    with pytest.raises(DataError, match=expected):
        read_dataset(data)


def test_more_folds_than_clips(data):
    rows = [(f"c{number:02}.wav", CLASSES[number % 3]) for number in range(4)]
    write_table(data / "train_curated.csv", ("fname", "labels"), *rows)
    with pytest.raises(DataError, match="expected at least one clip for each of 5 folds, found 4"):
        read_dataset(data)


def test_500_classes(data):
    rows = [(f"c{i:02}.wav", ",".join(f"class{i % 12}_{n:03}" for n in range(42))) for i in range(12)]
    write_table(data / "train_curated.csv", ("fname", "labels"), *rows)
    for name in ("sample_submission.csv", "test_post_competition.csv"):
        (data / name).unlink()
    assert len(read_dataset(data, noisy="none").classes) == 504


def test_every_choice_but_none_reads_all_noisy_clips(data):
    (data / "chosen.txt").write_text("n2.wav\nn0.wav\n")

    def noisy(choice):
        clips = read_dataset(data, noisy=choice).clips
        return list(clips.loc[clips["part"] == "noisy", "clip"])

    assert noisy("none") == []
    for choice in ("all", "agreement", "chosen.txt", str(data / "chosen.txt")):
        assert noisy(choice) == ["n0.wav", "n1.wav", "n2.wav", "n3.wav"]


@pytest.mark.parametrize(
    ("choice", "content", "expected"),
    [
        ("some", None, "found no readable list"),
        ("list", "n9.wav", "'n9.wav' is not a clip of the noisy table"),
        ("list", "idx\n3\n4\n", "'4' is not the number of a row of the noisy table"),
        ("list", "idx\n", "the list is empty"),
        ("list", "", "the list is empty"),
    ],
)
def test_a_wrong_choice_of_noisy_clips(data, choice, content, expected):
    if content is not None:
        (data / choice).write_text(content)
    with pytest.raises(DataError, match=expected):
        read_dataset(data, noisy=choice)


def test_without_noisy_clips(data):
    shutil.rmtree(data / "train_noisy")
    assert "noisy" not in set(read_dataset(data, noisy="none").clips["part"])
    (data / "train_noisy.csv").unlink()
    assert "noisy" not in set(read_dataset(data).clips["part"])
    with pytest.raises(DataError, match=r"train_noisy.csv is missing"):
        read_dataset(data, noisy="good.txt")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: damage(d / "train_curated.csv", "c01.wav,Meow", "c01.wav,Bark"),
        lambda d: damage(d / "test_post_competition.csv", "Private", "Public"),
        lambda d: shutil.copy(d / "test" / "t1.wav", d / "test" / "t0.wav"),
        lambda d: (d / "train_noisy" / "n0.wav").open("ab").write(b"\0"),
    ],
)
def test_the_fingerprint_changes_with_the_data(data, change):
    before = fingerprint(read_dataset(data))
    change(data)
    assert fingerprint(read_dataset(data)) != before


def test_the_fingerprint_is_the_same_for_every_choice_of_noisy_clips_but_none(data):
    (data / "chosen.txt").write_text("n0.wav\nn1.wav\n")
    found = [fingerprint(read_dataset(data, noisy=noisy)) for noisy in ("all", "agreement", "chosen.txt", "none")]
    assert found[0] == found[1] == found[2] != found[3]
