"""Label files of Raven, Audacity and others in the forms in which they are found."""

import pandas as pd
import pytest

from audiotagging.data.dataset import DataError, read_dataset
from audiotagging.data.layouts.reading import Reading

HEADER = ["Selection", "View", "Begin Time (s)", "End Time (s)", "Annotation"]
ROWS = [(1, "S", 0.5, 1.0, "dog"), (2, "S", 2.0, 2.5, "cat")]
GOOD = pd.DataFrame(ROWS, columns=HEADER)
SPANS = [("a.wav", 0, 1.5, "dog"), ("a.wav", 1.5, 3, "cat"), ("b.wav", 0, 1.5, "dog"), ("b.wav", 1.5, 3, "cat")]


@pytest.fixture
def folder(sounds):
    """Two recordings, of which the second one has a good selection table."""
    folder = sounds("a.wav", "b.wav", seconds=4)
    GOOD.to_csv(folder / "b.selections.txt", sep="\t", index=False)
    return folder


def spans(folder, **wishes):
    clips = read_dataset(folder, reading=Reading(**wishes)).clips
    return [(clip.group, clip.start, clip.end, *clip.labels) for clip in clips.itertuples()]


def problems_of(folder, **wishes):
    with pytest.raises(DataError) as error:
        read_dataset(folder, reading=Reading(**wishes))
    return error.value.problems


@pytest.mark.parametrize(
    "table",
    [
        GOOD.rename(columns={"Begin Time (s)": "Begin Time"}),
        GOOD.rename(columns={"Begin Time (s)": "Begin Time", "End Time (s)": "End Time"}),
        GOOD.rename(columns=str.upper),
        GOOD.rename(columns={"Annotation": "Species"}).assign(Annotation=""),
        GOOD.assign(Annotation=['"dog"', '"cat"']),
        GOOD.assign(Annotation=["dog", "  cat "]),
        GOOD.drop(columns="View"),
        GOOD.iloc[:, 2:].set_axis(["onset", "offset", "event_label"], axis="columns"),
    ],
)
@pytest.mark.parametrize("dialect", [{"sep": "\t"}, {"sep": "\t", "encoding": "utf-16"}, {"sep": ","}])
def test_a_selection_table_in_any_form(folder, table, dialect):
    table.to_csv(folder / "a.selections.txt", index=False, quoting=3 if dialect["sep"] == "\t" else 0, **dialect)
    assert spans(folder) == SPANS


def test_a_selection_without_a_label_is_left_out_with_a_note(folder):
    table = pd.concat([GOOD, pd.DataFrame([(3, "S", 3, 3.2, "")], columns=HEADER)])
    table.to_csv(folder / "a.selections.txt", sep="\t", index=False)
    assert spans(folder) == SPANS
    assert "a.selections.txt line 4: the column Annotation is empty, left out" in read_dataset(folder).notes


def test_a_selection_table_without_ends_is_named(folder):
    table = GOOD.rename(columns={"End Time (s)": "Delta"})
    table.to_csv(folder / "a.selections.txt", sep="\t", index=False)
    assert "a.selections.txt: expected times in the columns Begin Time (s) and End Time (s)" in problems_of(folder)[0]


@pytest.mark.parametrize(
    "text",
    [
        "\n0.5\t1.0\tdog\n",
        "# by me\n0.5\t1.0\tdog\n",
        "0.5 1.0 dog\n",
        "0.5,1.0,dog\n",
        "0.5\tdog\n",
        "dog\t0.5\t1.0\n",
        "-0.5\t1.0\tdog\n",
        "von\tbis\tArt\n0.5\t1.0\tdog\n",
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.Table.1.selections.txt", "a.wav.csv"])
def test_a_text_that_is_no_label_file_beside_a_recording_is_not_left_out_in_silence(folder, name, text):
    (folder / name).write_text(text)
    assert problems_of(folder)[0].startswith(f"{name}: expected a start, an end and a label between tabs in each line")


def test_an_empty_text_has_no_labels(folder):
    (folder / "a.txt").touch()
    assert "1 sound without a label file, left out: a.wav" in read_dataset(folder).notes


def test_labels_in_the_code_page_of_windows_are_read_with_a_note(folder):
    (folder / "a.txt").write_bytes("0.5\t1\tHäher\n2\t2.5\tcat\n".encode("cp1252"))
    assert spans(folder)[0] == ("a.wav", 0, 1.5, "Häher")
    assert any("a.txt is not in UTF-8: it was read as Windows-1252" in note for note in read_dataset(folder).notes)


@pytest.mark.parametrize(
    "text",
    [
        "0.5\t1.0\tdog\t0.7\n2\t2.5\tcat\t0.2\n",
        "Begin Time (s)\tEnd Time (s)\tCommon Name\tConfidence\n.5\t1\tdog\t0.7\n2\t2.5\tcat\t0.2\n",
    ],
)
def test_labels_that_are_not_certain(folder, text):
    (folder / "a.selections.txt").write_text(text)
    (problem,) = problems_of(folder)
    assert (
        "0.7 says how sure the label is (2 such labels)".removeprefix("0") in problem and "--min-confidence" in problem
    )
    assert spans(folder, min_confidence=0.5) == [SPANS[0], *SPANS[2:]]
    assert spans(folder, min_confidence=0) == SPANS


def test_labels_beside_another_folder_of_sounds(sounds):
    folder = sounds(*(f"audio/{split}/{split}{n}.wav" for split in ("train", "test") for n in range(2)), seconds=2)
    for split in ("train", "test"):
        (folder / "annotations" / split).mkdir(parents=True)
        for number in range(2):
            path = folder / "annotations" / split / f"{split}{number}.txt"
            path.write_text(f"0.0\t{0.5 + number}\tdog\n1.6\t1.9\tcat\n")
    clips = read_dataset(folder).clips
    assert list(clips["part"]) == ["curated"] * 4 + ["test"] * 4
    assert clips["end"][0] == 1.0 and clips["group"][0] == "audio/train/train0.wav"
