import pytest
from helpers.data_folder import write_table

from audiotagging.data.dataset import DataError, read_dataset

SOUNDS = [f"{site}/{number}.wav" for site in ("hill", "lake") for number in range(4)]
HEADER = ("path", "labels", "fold", "split", "group")


def rows(**changes):
    """Return rows without folds, of which some fields of the sixth are replaced."""
    table = [dict.fromkeys(HEADER, "") | {"path": path, "labels": "dog,cat"} for path in SOUNDS]
    table[0]["labels"] = "🦉 owl"
    table[5] |= changes
    return table


@pytest.fixture
def folder(sounds):
    return sounds(*SOUNDS)


def write(folder, table, name="clips.csv"):
    write_table(folder / name, HEADER, *(row.values() for row in table))


def test_a_table_of_clips(folder):
    write(folder, rows(split="test", labels="dog"))
    dataset = read_dataset(folder)
    clips = dataset.clips.set_index("clip")
    assert dataset.classes == ["cat", "dog", "🦉 owl"]
    assert list(clips.index) == [*SOUNDS[:5], *SOUNDS[6:], SOUNDS[5]]
    assert clips.loc[SOUNDS[0], "labels"] == ["🦉 owl"] and clips.loc[SOUNDS[1], "labels"] == ["dog", "cat"]
    assert clips.loc[SOUNDS[5], ["part", "labels", "path"]].tolist() == ["test", ["dog"], str(folder / SOUNDS[5])]
    assert set(clips["fold"]) == {-1}


def test_only_path_and_labels_are_needed_and_all_else_is_noted(folder):
    table = [(f"./{path}", "dog" if "hill" in path else "cat", "3 m") for path in SOUNDS[:-1]]
    write_table(folder / "clips.csv", ("path", "labels", "height"), *table)
    (folder / "hill" / "photo.jpg").touch()
    dataset = read_dataset(folder)
    assert list(dataset.clips["clip"]) == SOUNDS[:-1]
    assert dataset.notes[:3] == [
        "1 file of other kinds, left out: hill/photo.jpg",
        "clips.csv: column 'path' is used as path, column 'labels' is used as labels; not used: height",
        "clips.csv: 1 sound not listed, left out: lake/3.wav",
    ]


def test_test_clips_need_no_labels_and_have_no_fold(folder):
    table = [row | {"fold": number % 2} for number, row in enumerate(rows())]
    table[7] |= {"split": "test", "labels": "", "fold": ""}
    write(folder, table)
    clips = read_dataset(folder).clips
    assert list(clips["fold"]) == [0, 1, 0, 1, 0, 1, 0, -1] and clips["labels"][7] == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"path": ""}, "line 7: path is empty"),
        ({"path": "lake/9.wav"}, "line 7: 'lake/9.wav' is not a sound in the data folder"),
        ({"path": "../lake/1.wav"}, "line 7: path must be relative to the data folder and inside it"),
        ({"path": "/etc/passwd"}, "line 7: path must be relative to the data folder and inside it"),
        ({"path": "clips.csv"}, "line 7: 'clips.csv' is not a sound"),
        ({"path": "hill/../lake/1.wav"}, "line 7: path must be relative"),
        ({"path": "./hill/1.wav", "split": "test"}, "line 7: hill/1.wav is listed already in line 3, with another"),
        ({"labels": " ,"}, "line 7: the clip has no labels"),
        ({"split": "some"}, "line 7: split must be train, validation or test, found 'some'"),
        ({"split": "test", "fold": "0"}, "line 7: a test clip has no fold, found '0'"),
        ({"split": "test", "labels": "bat"}, "no training clip has the label 'bat' of lake/1.wav"),
        ({"fold": "0"}, "line 2: fold must be a number from 0 to 127, found ''"),
        ({"fold": "-1"}, "line 7: fold must be a number from 0 to 127, found '-1'"),
        ({"labels": "dog\x07"}, r"a class cannot be called 'dog\x07'"),
    ],
)
def test_a_row_that_cannot_be_used(folder, changes, expected):
    write(folder, rows(**changes))
    with pytest.raises(DataError) as error:
        read_dataset(folder)
    assert any(expected in problem for problem in error.value.problems)
    assert "\n" not in str(error.value)


def test_a_column_that_is_nearly_one_of_ours_is_refused(folder):
    write_table(folder / "clips.csv", ("path", "labels", "groups"), *[(path, "dog", "a") for path in SOUNDS])
    with pytest.raises(DataError, match="the column 'groups' is not used; if it is meant to be 'group', rename it"):
        read_dataset(folder)


def test_two_tables_are_ambiguous_and_others_do_not_count(folder):
    write(folder, rows())
    write_table(folder / "prices.csv", ("path", "price"), ("a", 1))
    assert len(read_dataset(folder).clips) == len(SOUNDS)
    write(folder, rows(), name="more.csv")
    with pytest.raises(DataError, match=r"expected one table of clips, found clips\.csv, more\.csv"):
        read_dataset(folder)


@pytest.mark.parametrize(("column", "values"), [("split", ("train", "test")), ("fold", ("0", "1"))])
def test_a_group_that_is_torn_apart_is_refused(folder, column, values):
    table = [row | {"group": f"night {number // 2}", column: values[number == 3]} for number, row in enumerate(rows())]
    write(folder, table)
    with pytest.raises(DataError, match=r"1 group (with|in) .*\(night 1\)"):
        read_dataset(folder)
