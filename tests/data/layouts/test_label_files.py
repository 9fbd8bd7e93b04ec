import shutil

import numpy as np
import pytest
import soundfile
from helpers.data_folder import RATE

from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.base.progress import INTERVAL
from audiotagging.data.dataset import DataError, fingerprint, read_dataset
from audiotagging.data.preprocessing import preprocess
from audiotagging.sounds.audio import SoundError, decode, duration
from audiotagging.tagging.formats import RAVEN_COLUMNS, write_raven
from audiotagging.tagging.windows import Tag

AUDACITY = "1.000000\t2.000000\tdog\n\\\t500.0\t900.0\n1.800000\t1.800000\tcat, bird\n"
RAVEN = (
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tSpecies\n"
    "1\tWaveform 1\t1\t3.0\t4.0\t0\t9000\tdog\n"
    "1\tSpectrogram 1\t1\t3.0\t4.0\t0\t9000\tdog\n"
    "2\tSpectrogram 1\t1\t4.2\t4.4\t0\t9000\tcat\n"
    "3\tSpectrogram 1\t1\t5.5\t5.8\t0\t9000\t🦉 owl\n"
)


@pytest.fixture
def folder(sounds):
    """Two recordings of six seconds with five clips in all."""
    folder = sounds("site a/REC.wav", "site a/REC2.wav", seconds=6)
    (folder / "site a" / "REC.txt").write_text(AUDACITY)
    (folder / "site a" / "REC2.Table.1.selections.txt").write_text(RAVEN)
    return folder


def test_every_label_is_a_clip_with_all_labels_that_are_heard_in_it(folder):
    dataset = read_dataset(folder)
    found = {clip.clip: (clip.start, clip.end, clip.labels, clip.group) for clip in dataset.clips.itertuples()}
    one, two = "site a/REC.wav", "site a/REC2.wav"
    assert found == {
        f"{one}@0.500-2.500": (0.5, 2.5, ["dog", "cat", "bird"], one),
        f"{one}@1.300-2.300": (1.3, 2.3, ["dog", "cat", "bird"], one),
        f"{two}@2.500-4.500": (2.5, 4.5, ["dog", "cat"], two),
        f"{two}@3.700-4.900": (3.7, 4.9, ["dog", "cat"], two),
        f"{two}@5.000-6.300": (5.0, 6.3, ["🦉 owl"], two),
    }
    assert dataset.classes == ["bird", "cat", "dog", "🦉 owl"] and set(dataset.clips["part"]) == {"curated"}
    assert "5 clips cut from 2 recordings; each recording is a group" in dataset.notes


def test_a_recording_is_in_one_fold_and_those_in_the_folder_test_are_for_test_clips(folder):
    shutil.copytree(folder / "site a", folder / "test" / "site a")
    clips = read_dataset(folder).clips
    assert (clips.groupby("group")["fold"].nunique() == 1).all()
    assert list(clips["part"]) == ["curated"] * 5 + ["test"] * 5
    assert set(clips["fold"][5:]) == {-1} and min(clips["fold"][:5]) >= 0


def test_clips_are_the_pieces_of_their_recordings(folder, tmp_path):
    dataset = read_dataset(folder)
    preprocess(dataset, tmp_path / "out", fingerprint="f", max_rejected=0, workers=1)
    clips = read_clips(tmp_path / "out")
    seconds = clips["seconds"][clips["part"] == "curated"]
    assert list(seconds) == pytest.approx([2.0, 1.0, 2.0, 1.2, 1.0], abs=0.02)  # the last one ends with the recording
    whole, _ = soundfile.read(folder / "site a" / "REC.wav", dtype="float32")
    piece = decode(folder / "site a" / "REC.wav", start=1.3, end=2.3)
    np.testing.assert_array_equal(piece.samples, whole[round(1.3 * RATE) : round(2.3 * RATE)])
    assert piece.repairs == ()


def test_a_piece_ends_with_its_file(folder):
    path = folder / "site a" / "REC.wav"
    assert duration(path, start=5.5, end=9) == 0.5 and len(decode(path, start=5.5, end=9).samples) == RATE // 2
    for read in (duration, decode):
        with pytest.raises(SoundError, match="begins at 6 s, after the end of its recording"):
            read(path, start=6.0, end=9.0)


def test_the_fingerprint_depends_on_the_times(folder):
    before = fingerprint(read_dataset(folder))
    (folder / "site a" / "REC.txt").write_text(AUDACITY.replace("1.000000", "1.000001"))
    assert fingerprint(read_dataset(folder)) == before  # to the millisecond
    (folder / "site a" / "REC.txt").write_text(AUDACITY.replace("1.000000", "1.001000"))
    assert fingerprint(read_dataset(folder)) != before


def test_what_we_write_for_raven_can_be_read(sounds):
    folder = sounds("a.wav", seconds=9)
    tags = [Tag(start, start + 1.0, label, 0.9) for start, label in zip(range(0, 9, 2), "xyxyx", strict=True)]
    with (folder / "a.selections.txt").open("w") as out:
        write_raven(((folder / "a.wav", tag) for tag in tags), out)
    assert "Annotation" in RAVEN_COLUMNS
    clips = read_dataset(folder).clips
    assert [clip.start + 0.5 for clip in clips[1:].itertuples()] == [2.0, 4.0, 6.0, 8.0]
    assert [labels for (labels,) in clips["labels"]] == list("xyxyx")


def test_the_longest_name_of_a_sound_gets_the_labels(folder):
    sound = folder / "site a" / "REC.Table.wav"
    shutil.copy(folder / "site a" / "REC.wav", sound)
    (folder / "site a" / "REC2.Table.1.selections.txt").rename(folder / "site a" / "REC.Table.1.selections.txt")
    dataset = read_dataset(folder)
    assert set(dataset.clips["group"]) == {"site a/REC.wav", "site a/REC.Table.wav"}
    assert "1 sound without a label file, left out: site a/REC2.wav" in dataset.notes


SEQUENCE = (
    "Selection\tBegin Time (s)\tEnd Time (s)\tBegin File\tFile Offset (s)\tAnnotation\n"
    "1\t1.0\t2.0\tREC.wav\t1.0\tdog\n"
    "2\t7.5\t8.0\tREC2.wav\t1.5\tcat\n"  # REC.wav takes six seconds
    "3\t11.2\t12.4\tREC2.wav\t5.2\tdog\n"
)


@pytest.mark.parametrize(
    "paths", [None, "/other/machine/", "C:\\sounds\\"], ids=["Begin File", "Begin Path", "Begin Path on Windows"]
)
@pytest.mark.parametrize("name", ["REC.Table.1.selections.txt", "all.selections.txt"])
def test_a_table_of_raven_about_several_sounds_names_them(sounds, name, paths):
    folder = sounds("REC.wav", "REC2.wav", seconds=6)
    text = SEQUENCE
    if paths:
        text = text.replace("Begin File", "Begin Path").replace("REC", f"{paths}REC")
    (folder / name).write_text(text)
    found = {(clip.group, clip.start, clip.end, *clip.labels) for clip in read_dataset(folder).clips.itertuples()}
    assert found == {
        ("REC.wav", 0.5, 2.5, "dog"),
        ("REC2.wav", 1.0, 2.5, "cat"),
        ("REC2.wav", 4.7, 6.9, "dog"),
    }


def test_a_sound_that_was_converted_has_the_labels_of_the_table_that_is_named_after_it(sounds):
    folder = sounds("REC.wav", seconds=6)
    (folder / "REC.selections.txt").write_text(SEQUENCE.replace("REC2.wav", "REC.aif").replace("REC.wav", "REC.aif"))
    assert list(read_dataset(folder).clips["start"]) == [0.5, 1.0, 4.7]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "site a/REC.Table.1.selections.txt",
            SEQUENCE.replace("REC2", "REC3"),
            "REC.Table.1.selections.txt: expected the sound REC3.wav beside the labels, found none",
        ),
        (
            "site a/REC.Table.1.selections.txt",
            SEQUENCE.replace("File Offset", "Offset"),
            "expected a column File Offset (s), because its selections are in several sounds, found none",
        ),
        ("site a/NONE.txt", AUDACITY, "site a/NONE.txt: expected a sound of this name beside the labels, found none"),
        ("site a/REC.txt", AUDACITY.replace("dog", " "), "site a/REC.txt line 1: the label has no text"),
        ("site a/REC.txt", AUDACITY.replace("2.000000", "0.5"), "site a/REC.txt line 1: expected a start and an end"),
        ("site a/REC.txt", AUDACITY.replace("1.800000", "x", 1), "site a/REC.txt line 3: expected a start and an end"),
        ("site a/REC.txt", AUDACITY + "more\n", "site a/REC.txt line 4: expected a start and an end"),
        (
            "site a/REC2.Table.1.selections.txt",
            RAVEN.replace("Species", "Who"),
            "expected the labels in a column Annot",
        ),
        ("site a/REC2.Table.1.selections.txt", RAVEN.replace("5.5", ""), "line 5: expected a start and an end"),
        (
            "clips.csv",
            "path,labels\nsite a/REC.wav,dog\n",
            "expected either a table of clips or label files, found clips",
        ),
        ("dog/1.wav", None, "expected label files beside the sounds or a folder per class, found both"),
        ("loose.wav", None, "expected label files beside the sounds or a folder per class, found both"),
    ],
)
def test_what_cannot_be_used(folder, sounds, name, text, expected):
    if text is None:
        sounds(name)
    else:
        (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_dataset(folder)
    assert any(expected in problem for problem in error.value.problems)
    assert "\n" not in str(error.value)


def test_a_label_of_which_less_than_half_lies_in_its_recording_is_no_clip_and_is_named(folder):
    before = list(read_dataset(folder).clips["clip"])
    more = "60.0\t61.0\tdog\n5.0\t8.0\tcat\n6.0\t6.0\tbird\n4.0\t8.0\tdog\n"
    (folder / "site a" / "REC.txt").write_text(AUDACITY + more)
    dataset = read_dataset(folder)
    assert set(dataset.clips["clip"]) - set(before) == {"site a/REC.wav@3.500-8.500"}
    (halved,) = dataset.clips[dataset.clips["clip"] == "site a/REC.wav@3.500-8.500"]["labels"]
    assert halved == ["dog"]
    named = [note for note in dataset.notes if "REC.txt line" in note]
    assert named == [
        "site a/REC.txt line 4: the label 'dog' begins at 60 s, after the end of REC.wav (6.00 s); left out",
        "site a/REC.txt line 5: only 1.00 of 3.00 s of the label 'cat' lie in REC.wav (6.00 s); left out",
        "site a/REC.txt line 6: the label 'bird' begins at 6 s, after the end of REC.wav (6.00 s); left out",
    ]


def test_text_files_that_are_no_labels_are_left_out(sounds):
    folder = sounds(*(f"{label}/{number}.wav" for label in ("cat", "dog") for number in range(3)))
    (folder / "dog" / "0.txt").write_text("recorded on\tMonday\n")
    (folder / "dog" / "1.txt").write_bytes(b"")
    assert read_dataset(folder).classes == ["cat", "dog"]


def test_reading_recordings_shows_progress(folder, monkeypatch, caplog):
    monkeypatch.setenv(INTERVAL, "0")
    with caplog.at_level("INFO"):
        read_dataset(folder)
    assert "read labels and recordings: 2 of 2" in caplog.text
