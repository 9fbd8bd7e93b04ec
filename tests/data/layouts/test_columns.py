"""What the columns of a table are: times under many names, columns of zeros and ones, numbers that are no labels."""

import pandas as pd
import pytest

from audiotagging.data.dataset import DataError, read_dataset
from audiotagging.data.layouts.reading import Reading

SOUNDS = [f"site{number % 2}/s{number}.wav" for number in range(9)]
LABELS = ["dog", "cat", "rain"] * 3
TABLE = pd.DataFrame({"file": SOUNDS, "label": LABELS})
TRUE = {sound: [label] for sound, label in zip(SOUNDS, LABELS, strict=True)}


@pytest.fixture
def folder(sounds):
    """Nine sounds of four seconds in two folders, which are no classes."""
    return sounds(*SOUNDS, seconds=4)


def read(folder, table, *, dialect=",", **wishes):
    table.to_csv(folder / "clips.csv", index=False, sep=dialect)
    return read_dataset(folder, reading=Reading(**wishes))


def labels_of(dataset):
    return dict(zip(dataset.clips["clip"], dataset.clips["labels"], strict=True))


def problems_of(folder, table, **wishes):
    with pytest.raises(DataError) as error:
        read(folder, table, **wishes)
    return error.value.problems


@pytest.mark.parametrize(
    "names",
    [
        ("start_time_seconds", "end_time_seconds"),  # AudioSet's strong labels
        ("start_timestamp", "stop_timestamp"),  # EPIC-Sounds
        ("t_min", "t_max"),  # the Rainforest Connection
        ("Starttime", "Endtime"),  # DCASE's few-shot bioacoustic detection
        ("onset_s", "offset_s"),
        ("Begin Time (s)", "End Time (s)"),
        ("start", "duration"),
        ("onset", "Delta Time (s)"),
        ("OFFSET", "DURATION"),  # Kaleidoscope, which counts from the start of the file
    ],
)
@pytest.mark.parametrize("form", [str, "00:00:{:06.3f}".format])
def test_labels_with_times_are_pieces(folder, names, form):
    last = 1.5 if names[1].casefold().startswith(("d", "delta")) else 2.5
    table = TABLE.assign(**{names[0]: form(1.0), names[1]: form(last)})
    clips = read(folder, table).clips
    assert set(zip(clips["start"], clips["end"], strict=True)) == {(0.5, 3.0)}
    assert [*clips["labels"]] == [*TRUE.values()]


@pytest.mark.parametrize("names", [("event_start", "event_end"), ("segment_begin", "x"), ("start_ms", "end_ms")])
def test_columns_that_may_be_times_are_not_left_out_in_silence(folder, names):
    table = TABLE.assign(**dict.fromkeys(names, 1.0))
    assert f"the column {names[0]!r} is not" in problems_of(folder, table)[0]
    assert labels_of(read(folder, table.drop(columns=[*names]))) == TRUE
    if not names[0].endswith("ms"):
        assert labels_of(read(folder, table, columns={"start": ["none"]})) == TRUE
        clips = read(folder, table, columns={"start": [names[0]], "end": [names[1]]}).clips
        assert set(clips["start"]) == {0.5}


def test_a_duration_of_the_whole_sound_is_no_time(folder):
    assert labels_of(read(folder, TABLE.assign(duration=4.0))) == TRUE
    clips = read(folder, TABLE.assign(start=1.0, end=2.0, duration=4.0)).clips
    assert set(clips["end"]) == {2.5}


@pytest.mark.parametrize("ones", [("1", "0"), ("1.0", "0.0"), ("True", "False")])
@pytest.mark.parametrize("extra", [{}, {"clip_id": range(100, 109)}, {"split": "train"}])
def test_a_column_of_zeros_and_ones_for_each_class(folder, ones, extra):
    classes = ["no voice", "dog", "rain"]
    heard = {sound: [name for place, name in enumerate(classes) if n % 3 != place] for n, sound in enumerate(SOUNDS)}
    columns = {name: [ones[name not in heard[sound]] for sound in SOUNDS] for name in classes}
    dataset = read(folder, pd.DataFrame({**extra, **columns, "mp3_path": SOUNDS}), dialect="\t")
    assert labels_of(dataset) == heard
    assert any("columns of zeros and ones are used as labels: no voice, dog, rain" in note for note in dataset.notes)


def test_columns_of_zeros_and_ones_beside_others_are_used_if_they_are_named(folder):
    table = pd.DataFrame({"file": SOUNDS, "dog": [1, 0, 1] * 3, "cat": [0, 1, 0] * 3, "checked": 1, "author": "A"})
    assert "none of its columns" in problems_of(folder, table)[0]
    heard = {sound: [["dog"], ["cat"], ["dog"]][number % 3] for number, sound in enumerate(SOUNDS)}
    assert labels_of(read(folder, table, columns={"labels": ["dog", "cat"]})) == heard


def test_the_zeros_of_a_submission_are_no_labels(sounds):
    folder = sounds(*(f"train/{label}/{n}.wav" for label in ("cat", "dog") for n in range(3)), "test/a.wav")
    (folder / "sample_submission.csv").write_text("fname,cat,dog\na.wav,0,0\n")
    dataset = read_dataset(folder)
    assert dataset.classes == ["cat", "dog"] and list(dataset.clips["part"]) == ["curated"] * 6 + ["test"]


def test_zeros_and_ones_must_be_such_in_every_row(sounds):
    folder = sounds(*(f"a/s{number}.wav" for number in range(210)))
    table = pd.DataFrame({"file": [f"s{number}" for number in range(210)], "dog": [1] * 209 + [0.5], "cat": [1] * 210})
    assert problems_of(folder, table) == ["clips.csv line 211: expected 0 or 1 in the column 'dog', found '0.5'"]
    assert "line 2: the clip has no labels" in problems_of(folder, table.assign(dog=0, cat=0))[0]


@pytest.mark.parametrize(
    "vector", ["[0.0, 1.0, 0.0]", "[0 1 0]", "[0. 1. 0.]", "(0,0,0)", "0;0;1", "{'dog': 0.3, 'cat': 0.7}", "dog:0.3"]
)
def test_vectors_are_no_names(folder, vector):
    problem = problems_of(folder, TABLE.assign(label=vector))[0]
    assert problem.startswith("clips.csv line 2: expected names of labels, found ")


def test_lists_of_numbers_may_be_names(folder):
    assert labels_of(read(folder, TABLE.assign(label="[0, 17]"))) == {sound: ["0", "17"] for sound in SOUNDS}


def test_names_with_brackets_and_lists_over_several_lines_are_names(folder):
    table = TABLE.replace({"label": {"dog": "Canis lupus (dog)", "rain": "['rain'\n 'cat']"}})
    assert [*labels_of(read(folder, table)).values()][:3] == [["Canis lupus (dog)"], ["cat"], ["rain", "cat"]]


@pytest.mark.parametrize(
    ("names", "note"),
    [
        (("1", "1.0"), "the classes '1' and '1.0' differ only in spelling"),
        (("\ufb01n", "fin"), "the classes 'fin' and '\ufb01n' differ only in spelling"),
        (("cat", "-"), "the class '-' may mean that there is no label: --negatives - takes"),
        (("cat", "Unknown"), "the class 'Unknown' may mean that there is no label: --negatives Unknown takes"),
    ],
)
def test_names_that_may_be_one_or_none_are_noted(folder, names, note):
    dataset = read(folder, TABLE.replace({"label": {"dog": names[0], "rain": names[1]}}))
    assert any(note in found for found in dataset.notes)


@pytest.mark.parametrize("name", ["is_test", "Test", "train", "validation", "holdout"])
def test_a_column_that_says_which_clips_are_for_test_is_no_class(folder, name):
    table = pd.DataFrame({"file": SOUNDS, "dog": 1, "cat": [0, 1, 0] * 3, name: [0, 1, 0] * 3})
    assert "none of its columns" in problems_of(folder, table)[0]


@pytest.mark.parametrize("name", ["is_test", "Test", "train", "validation", "holdout"])
def test_a_column_that_says_which_clips_are_for_test_is_not_left_out_in_silence(folder, name):
    table = TABLE.assign(**{name: [0, 1, 0] * 3})
    assert f"the column {name!r} is not used: write test" in problems_of(folder, table)[0]
    assert labels_of(read(folder, table, columns={"split": ["none"]})) == TRUE


def test_columns_that_turn_out_to_be_useless_are_not_said_to_be_used(folder):
    dataset = read(folder, TABLE.assign(set=[*"ABC"] * 3, start="x", end="y"))
    assert "clips.csv: column 'file' is used as path, column 'label' is used as labels; not used: set, start, end" in (
        dataset.notes
    )


@pytest.mark.parametrize("title", ["Annotations of 2023\n", "Annotations of 2023,\n\n"])
def test_a_title_above_the_names_of_columns_is_no_record(folder, title):
    (folder / "clips.csv").write_text(title + TABLE.to_csv(index=False))
    assert labels_of(read_dataset(folder)) == TRUE


def test_a_quote_that_is_not_closed_makes_no_name_of_several_lines(folder):
    rows = [f"{sound},{label}\n" for sound, label in zip(SOUNDS, LABELS, strict=True)]
    (folder / "clips.csv").write_text("file,label\n" + "".join(rows[:-1]) + rows[-1].replace(",", ',"'))
    assert labels_of(read_dataset(folder)) == TRUE  # nothing follows
    (folder / "clips.csv").write_text("file,label\n" + rows[0].replace(",", ',"') + "".join(rows[1:]))
    with pytest.raises(DataError, match="a line ends within the labels; look for a quote that is not closed"):
        read_dataset(folder)


@pytest.mark.parametrize("name", ["confidence", "relevance", "score", "Likelihood"])
def test_labels_that_are_not_certain_are_not_taken_as_such(folder, name):
    table = TABLE.assign(**{name: [0.2, 0.9, 1.0] * 3})
    assert "clips.csv line 2: 0.2 says how sure the label is (6 such labels)" in problems_of(folder, table)[0]
    assert {label for (label,) in labels_of(read(folder, table, min_confidence=0.5)).values()} == {"cat", "rain"}


def test_a_table_called_as_that_of_a_public_data_set_need_not_be_it(folder):
    TABLE.to_csv(folder / "train_metadata.csv", index=False)
    dataset = read_dataset(folder)
    assert labels_of(dataset) == TRUE and not any("BirdCLEF" in note for note in dataset.notes)


def test_a_table_with_times_that_names_sounds_is_no_label_file(folder):
    table = pd.DataFrame({"segment_id": [*SOUNDS], "start": 1.0, "end": 2.0, "label": LABELS})
    assert set(read(folder, table).clips["group"]) == set(SOUNDS)


def test_label_files_of_recordings_called_as_numbers_are_such(sounds):
    folder = sounds("1.wav", "2.wav", seconds=4)
    for name in ("1.csv", "2.csv"):
        (folder / name).write_text("start,end,label\n1,2,dog\n2,3,cat\n")
    assert list(read_dataset(folder).clips["group"]) == ["1.wav"] * 2 + ["2.wav"] * 2


def test_numbers_in_the_place_of_names_are_no_labels(sounds):
    folder = sounds("a.wav", seconds=4)
    (folder / "a.txt").write_text("0.5\t1.0\t0\t1\n")  # crackles and wheezes, as in the ICBHI 2017 data
    with pytest.raises(DataError, match="line 1: expected a name in the third column, found '0', a number"):
        read_dataset(folder)
