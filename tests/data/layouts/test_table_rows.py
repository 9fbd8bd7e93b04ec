"""Tables of clips in the dialects, with the columns and with the cells that are in use."""

import pandas as pd
import pytest
from helpers.data_folder import write_table

from audiotagging.data.dataset import DataError, read_dataset
from audiotagging.data.layouts.reading import Reading

SOUNDS = [f"site{number % 2}/s{number}.wav" for number in range(8)]
LABELS = ["dog", "cat", "dog,röv", "dog", "cat", "dog,röv", "cat", "dog"]
TABLE = pd.DataFrame({"path": SOUNDS, "labels": LABELS})
TRUE = {sound: labels.split(",") for sound, labels in zip(SOUNDS, LABELS, strict=True)}


@pytest.fixture
def folder(sounds):
    """Eight sounds in two folders, which are no classes."""
    return sounds(*SOUNDS)


def labels_of(folder, **wishes):
    clips = read_dataset(folder, reading=Reading(**wishes)).clips
    return dict(zip(clips["clip"], clips["labels"], strict=True))


def problems_of(folder, **wishes):
    with pytest.raises(DataError) as error:
        read_dataset(folder, reading=Reading(**wishes))
    return error.value.problems


DIALECTS = {
    "semicolons": {"sep": ";"},
    "tabs": {"sep": "\t"},
    "bars": {"sep": "|"},
    "UTF-16": {"encoding": "utf-16"},
    "UTF-16 with tabs, as Excel writes it": {"encoding": "utf-16", "sep": "\t"},
    "UTF-16 without a byte order mark": {"encoding": "utf-16-le"},
    "a byte order mark": {"encoding": "utf-8-sig"},
    "Windows": {"encoding": "cp1252", "sep": ";"},
    "line ends of Windows": {"lineterminator": "\r\n"},
    "line ends of old Macs": {"lineterminator": "\r"},
    "quotes everywhere": {"quoting": 1},
}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".tab"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_table_in_any_dialect_is_what_pandas_wrote(folder, dialect, suffix):
    TABLE.to_csv(folder / f"clips{suffix}", index=False, **DIALECTS[dialect])
    dataset = read_dataset(folder)
    assert dict(zip(dataset.clips["clip"], dataset.clips["labels"], strict=True)) == TRUE
    assert any("cp1252" in note for note in dataset.notes) == (dialect == "Windows")


@pytest.mark.parametrize("first", ["sep=;\n", '"sep=;"\n', "# made by hand\n# in May\n"])
def test_lines_before_the_header_are_no_records(folder, first):
    (folder / "clips.csv").write_text(first + TABLE.to_csv(index=False, sep=";"))
    assert labels_of(folder) == TRUE
    (folder / "clips.csv").write_text(first + TABLE.assign(path="x.wav").to_csv(index=False, sep=";"))
    assert problems_of(folder)[0].startswith(f"clips.csv line {first.count(chr(10)) + 2}: ")


@pytest.mark.parametrize(
    "names",
    [
        ("Path", "Labels"),
        ("filename", "label"),
        ("path", "label"),
        ("fname", "category"),
        ("file", "class"),
        ("File Name", "Species"),
        ("slice_file_name", "class"),
        ("itemid", "tags"),
        ("audio_file", "scene_label"),
    ],
)
def test_columns_have_the_names_in_use(folder, names):
    TABLE.set_axis(names, axis="columns").to_csv(folder / "clips.csv", index=False)
    dataset = read_dataset(folder)
    assert dict(zip(dataset.clips["clip"], dataset.clips["labels"], strict=True)) == TRUE
    assert f"clips.csv: column {names[0]!r} is used as path, column {names[1]!r} is used as labels" in dataset.notes


def test_columns_can_be_named_and_the_table_and_the_folder_of_the_sounds(folder, tmp_path):
    TABLE.set_axis(["what", "heard"], axis="columns").assign(label="x").to_csv(folder / "a.csv", index=False)
    TABLE.assign(labels="y").to_csv(folder / "b.csv", index=False)
    wishes = {"table": "a.csv", "columns": {"labels": ["heard"], "path": ["what"]}}
    assert labels_of(folder, **wishes) == TRUE
    assert problems_of(folder, **wishes | {"columns": {"labels": ["heart"]}}) == [
        "a.csv: --label-column: expected one of what, heard, label, found 'heart'"
    ]
    assert "which is none" in problems_of(folder, table="c.csv")[0]
    (tmp_path / "tables").mkdir()
    (folder / "a.csv").rename(tmp_path / "tables" / "a.csv")
    assert labels_of(tmp_path / "tables", **wishes, sounds=str(folder)) == TRUE
    assert labels_of(tmp_path, **wishes | {"table": "tables/a.csv"}, sounds="sounds") == {
        f"sounds/{sound}": labels for sound, labels in TRUE.items()
    }
    assert "--sounds: expected a folder" in problems_of(folder, sounds="nowhere")[0]


def test_a_table_without_a_header(folder):
    TABLE.to_csv(folder / "clips.csv", index=False, header=False)
    assert "names 8 of 8 sounds" in problems_of(folder)[0]
    assert labels_of(folder, columns={"labels": ["2"]}) == TRUE


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.replace("/", "\\"),
        lambda path: path.removesuffix(".wav"),
        lambda path: path.replace(".wav", ".WAV"),
        lambda path: path.replace(".wav", ".mp3"),
        lambda path: path.rpartition("/")[2],
        lambda path: f"/home/me/recordings/{path}",
        lambda path: f"D:\\recordings\\{path}",
        lambda path: f"./{path}",
    ],
)
def test_paths_need_not_be_written_as_they_are(folder, change):
    TABLE.assign(path=TABLE["path"].map(change)).to_csv(folder / "clips.csv", index=False)
    assert labels_of(folder) == TRUE


def test_paths_in_the_other_unicode_form_are_found(sounds):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    folder = sounds(*(f"{decomposed}/{number}.wav" for number in range(3)), *(f"{composed}s/{n}.wav" for n in range(3)))
    rows = [(f"{composed}/{n}.wav", "dog") for n in range(3)] + [(f"{decomposed}s/{n}.wav", "cat") for n in range(3)]
    write_table(folder / "clips.csv", ("path", "labels"), *rows)
    assert sorted(labels for (labels,) in labels_of(folder).values()) == ["cat"] * 3 + ["dog"] * 3


def test_a_name_that_two_sounds_have_is_refused(sounds):
    folder = sounds("a/1.wav", "b/1.wav", "c/2.wav")
    write_table(folder / "clips.csv", ("path", "labels"), ("1.wav", "dog"), ("2.wav", "cat"))
    assert "clips.csv line 2: '1.wav' can be a/1.wav or b/1.wav; write the path" in problems_of(folder)[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda labels: labels.replace(",", ";"),
        lambda labels: labels.replace(",", " | "),
        lambda labels: str(labels.split(",")),
        lambda labels: str(labels.split(",")).replace("'", '"'),
        lambda labels: "[" + " ".join(f"'{label}'" for label in labels.split(",")) + "]",
        lambda labels: f"[{labels}]",
        lambda labels: f'"{labels}"',
        lambda labels: f"  {labels} ",
        lambda labels: labels.replace("\u00f6", "o\u0308"),
    ],
)
def test_labels_in_one_field(folder, change):
    TABLE.assign(labels=TABLE["labels"].map(change)).to_csv(folder / "clips.csv", index=False)
    assert labels_of(folder) == TRUE


def test_one_row_per_label(folder):
    long = TABLE.assign(labels=TABLE["labels"].str.split(",")).explode("labels").assign(fold="1.0")
    long.loc[long["path"] == SOUNDS[0], "fold"] = "0.0"
    long.to_csv(folder / "clips.csv", index=False)
    dataset = read_dataset(folder)
    assert dict(zip(dataset.clips["clip"], dataset.clips["labels"], strict=True)) == TRUE
    assert list(dataset.clips["fold"]) == [0, 1, 1, 1, 1, 1, 1, 1]
    assert any("2 clips in several rows, with the labels of all of them" in note for note in dataset.notes)


def test_two_separators_are_refused(folder):
    TABLE.assign(labels=["a;b", "a,b", *LABELS[2:]]).to_csv(folder / "clips.csv", index=False)
    assert "clips.csv line 3: ',' separates labels here, and ';' in clips.csv line 2" in problems_of(folder)[0]


@pytest.mark.parametrize("nothing", ["", "nan", "NaN", "None", "[]", "NULL", "['']"])
def test_a_field_without_labels_is_refused_unless_allowed(folder, nothing):
    TABLE.assign(labels=[*LABELS[:7], nothing]).to_csv(folder / "clips.csv", index=False)
    assert "clips.csv line 9: the clip has no labels" in problems_of(folder)[0]
    assert "--allow-unlabelled" in problems_of(folder)[0]
    assert labels_of(folder, allow_unlabelled=True) == TRUE | {SOUNDS[7]: []}


@pytest.mark.parametrize(
    ("one", "other", "differ"), [("dog", "Dog", True), ("dog bark", "dog_bark", True), ("dog bark", "dog  bark", False)]
)
def test_spellings_of_one_name(folder, one, other, differ):
    TABLE.assign(labels=[one, other, "cat", one, other, "cat", "cat", "cat"]).to_csv(folder / "clips.csv", index=False)
    dataset = read_dataset(folder)
    notes = [note for note in dataset.notes if "differ only in spelling" in note]
    assert len(notes) == differ and all(repr(one) in note and repr(other) in note for note in notes)
    assert len(dataset.classes) == 2 + differ


def test_labels_that_are_not_certain(folder):
    sure = ["1.0", "0.7", "0.9", "0.2", "1", "0.8", "1", "1"]
    TABLE.assign(confidence=sure).to_csv(folder / "clips.csv", index=False)
    (problem,) = problems_of(folder)
    assert problem.startswith("clips.csv line 3: 0.7 says how sure the label is (4 such labels)")
    assert "--min-confidence" in problem
    assert labels_of(folder, min_confidence=0.8) == {SOUNDS[place]: TRUE[SOUNDS[place]] for place in (0, 2, 4, 5, 6, 7)}
    assert labels_of(folder, columns={"confidence": ["none"]}) == TRUE


@pytest.mark.parametrize("columns", [("start", "end"), ("onset", "offset"), ("start_seconds", "end_seconds")])
def test_labels_with_times_are_pieces_of_recordings(sounds, columns):
    folder = sounds("a.wav", "b.wav", seconds=4)
    rows = [("a.wav", 0.5, 1, "dog"), ("a.wav", 2.5, 3, "cat"), ("b.wav", "1,5", 2, "dog")]
    write_table(folder / "events.csv", ("file", *columns, "label"), *rows)
    clips = read_dataset(folder).clips
    assert [(clip.group, clip.start, clip.end, *clip.labels) for clip in clips.itertuples()] == [
        ("a.wav", 0, 1.5, "dog"),
        ("a.wav", 2, 3.5, "cat"),
        ("b.wav", 1, 2.5, "dog"),
    ]


def test_tables_of_splits_are_read_together(folder):
    for name, rows in (("train.csv", TABLE[:6]), ("test.csv", TABLE[6:])):
        rows.to_csv(folder / name, index=False)
    dataset = read_dataset(folder)
    assert dict(zip(dataset.clips["clip"], dataset.clips["part"], strict=True)) == {
        sound: "curated" if place < 6 else "test" for place, sound in enumerate(SOUNDS)
    }


def test_validation_clips_are_fold_0(folder):
    TABLE.assign(split=["val", "Train", "train", "training", "", "validation", "", ""]).to_csv(
        folder / "clips.csv", index=False
    )
    dataset = read_dataset(folder)
    assert set(dataset.clips["fold"][[0, 5]]) == {0} and set(dataset.clips["fold"][[1, 2, 3, 4, 6, 7]]) == {1, 2, 3, 4}
    assert dataset.is_drawn


@pytest.mark.parametrize(
    ("name", "table", "expected"),
    [
        (
            "facts.csv",
            TABLE.drop(columns="labels").assign(height=3),
            "names 8 of 8 sounds, but none of its columns (path, height) is known to hold labels: name it with --label",
        ),
        ("facts.csv", TABLE.assign(path=range(8)), "has 8 rows, for 8 sounds, but names 0 of them"),
    ],
)
def test_folders_are_no_classes_if_there_may_be_a_table(folder, name, table, expected):
    table.set_axis([f"{column}_" for column in table], axis="columns").rename(
        columns={"path_": "path", "height_": "height"}
    ).to_csv(folder / name, index=False)
    assert expected in problems_of(folder)[0]


def test_a_table_that_names_other_sounds_is_not_thrown_away(folder):
    TABLE[:3].assign(path="x").set_axis(["filename", "label"], axis="columns").to_csv(folder / "a.csv", index=False)
    assert (
        "a.csv has 3 rows, for 8 sounds, but names 0 of them; its columns are filename, label" in problems_of(folder)[0]
    )


def test_a_group_that_the_data_contradict_is_none(folder):
    TABLE.assign(fold=[0, 1] * 4, location=[*"aabbccdd"]).to_csv(folder / "c.csv", index=False)
    dataset = read_dataset(folder)
    assert set(dataset.clips["group"]) == {""}
    assert any("'location' is not used as group after all: a is in several folds" in note for note in dataset.notes)


def test_negatives_have_no_labels_and_are_no_class(sounds):
    folder = sounds(*(f"{label}/{number}.wav" for label in ("cat", "dog", "wind") for number in range(10)))
    dataset = read_dataset(folder, reading=Reading(negatives=("wind",)), test_share=0.2, seed=1)
    assert dataset.classes == ["cat", "dog"]
    negatives = dataset.clips[dataset.clips["usage"] == "Negative"]
    assert list(negatives["labels"]) == [[]] * 10 and all(clip.startswith("wind/") for clip in negatives["clip"])
    assert (negatives["part"] == "test").sum() == 2
    assert "--negatives: expected classes such as cat, dog, wind" in problems_of(folder, negatives=("rain",))[0]
