"""Files that may have the labels and cannot be read or are not understood: folder names are never used instead."""

import gzip
import json
import shutil
import zipfile

import pytest

from audiotagging.data.dataset import DataError, read_dataset
from audiotagging.data.layouts.reading import Reading

SOUNDS = [f"site{number % 2}/sound{number}.wav" for number in range(8)]
LABELS = ["dog", "cat", "dog,röv", "dog", "cat", "dog,röv", "cat", "dog"]
ROWS = [f'{sound},"{labels}"' for sound, labels in zip(SOUNDS, LABELS, strict=True)]
TABLE = "path,labels\n" + "\n".join(ROWS) + "\n"
AWAY = "or move it away if the folders are the classes"


@pytest.fixture
def folder(sounds):
    """Eight sounds in two folders, which are no classes."""
    return sounds(*SOUNDS)


def problems_of(folder, **wishes):
    with pytest.raises(DataError) as error:
        read_dataset(folder, reading=Reading(**wishes))
    return error.value.problems


UNREADABLE = {
    "UTF-16 that is cut short": (TABLE.encode("utf-16")[:-1], "UTF-16, found that it is damaged at byte"),
    "UTF-16 with half of a pair": (TABLE.encode("utf-16") + b"\x00\xd8", "UTF-16, found that it is damaged at byte"),
    "UTF-16 without a mark that is cut short": (TABLE.encode("utf-16-le")[:-1], "UTF-16-LE, found that it is damaged"),
    "zeros in between": (TABLE.encode()[:80] + bytes(9) + TABLE.encode()[80:], "found a zero byte"),
    "zeros alone": (bytes(500), "line 1: expected text, found a zero byte"),
    "a quote that is not closed": (b'path,labels\na.wav,"dog\n' + b"x,\n" * 50_000, "a quote that is not closed"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n", "a pointer of Git LFS"),
}


@pytest.mark.parametrize("damage", UNREADABLE)
@pytest.mark.parametrize("name", ["clips.csv", "meta/clips.tsv", "labels.txt"])
def test_a_table_that_cannot_be_read_is_named(folder, damage, name):
    content, expected = UNREADABLE[damage]
    (folder / "meta").mkdir()
    (folder / name).write_bytes(content)
    (problem,) = problems_of(folder)
    assert problem.startswith(name) and expected in problem


@pytest.mark.parametrize("name", ["clips.csv", "labels.txt", "clips.json"])
def test_a_link_to_nothing_is_named(folder, name):
    (folder / name).symlink_to("annexed")
    (problem,) = problems_of(folder)
    assert problem.startswith(name)


def test_an_empty_table_is_named_but_no_empty_text(folder):
    (folder / "notes.txt").touch()
    assert read_dataset(folder).classes == ["site0", "site1"]
    (folder / "clips.csv").touch()
    assert problems_of(folder) == ["clips.csv is empty; expected a table, so write it again or remove it"]


def test_a_damaged_table_beside_a_good_one_is_named(folder):
    (folder / "train.csv").write_text(TABLE)
    (folder / "test.csv").write_bytes(TABLE.encode("utf-16")[:-1])
    assert problems_of(folder)[0].startswith("test.csv: expected text in UTF-16")
    assert "röv" in read_dataset(folder, reading=Reading(table="train.csv")).classes


@pytest.mark.parametrize("content", [TABLE.encode("utf-16")[:-1], bytes(30), b""])
def test_the_table_of_a_public_data_set_that_cannot_be_read_is_named(folder, content):
    (folder / "meta").mkdir()
    (folder / "meta/esc50.csv").write_bytes(content)
    assert problems_of(folder)[0].startswith("meta/esc50.csv")


def test_bytes_that_no_code_page_has_are_no_part_of_a_name(folder):
    (folder / "clips.csv").write_bytes(TABLE.encode("cp1252").replace(b"\xf6", b"\x81"))
    assert problems_of(folder) == ["clips.csv: a class cannot be called 'r\ufffdv'"]


def test_a_text_in_another_code_page_that_names_no_sound_is_left_out(folder):
    (folder / "README.txt").write_bytes("鳥の声を集めました。".encode("shift_jis"))
    assert read_dataset(folder).classes == ["site0", "site1"]


def sheet(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("xl/sharedStrings.xml", "<t>" + "</t><t>".join(SOUNDS) + "</t>")


def packed(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("meta/clips.csv", TABLE)


OTHERS = {
    "clips.xls": (lambda path: path.write_bytes(b"\xd0\xcf" + TABLE.encode("utf-16-le")), "a spreadsheet"),
    "clips.xlsx": (sheet, "a spreadsheet"),
    "corrupt.xlsx": (lambda path: path.write_bytes(b"PK"), "a spreadsheet"),
    "clips.json": (lambda path: path.write_text(json.dumps(dict(zip(SOUNDS, LABELS, strict=True)))), "no table"),
    "metadata.jsonl": (lambda path: path.write_text("".join(f'{{"file_name": "{s}"}}\n' for s in SOUNDS)), "no table"),
    "spaces.txt": (lambda path: path.write_text("".join(f"{sound} dog\n" for sound in SOUNDS)), "no table"),
    "utt2label": (lambda path: path.write_text("".join(f"{sound}: dog\n" for sound in SOUNDS)), "no table"),
    "clips.html": (lambda path: path.write_text("".join(f"<td>{s}</td>" for s in SOUNDS), "utf-16"), "no table"),
    "clips.parquet": (lambda path: path.write_bytes(b"PAR1"), "Parquet"),
    "clips.csv.gz": (lambda path: path.write_bytes(gzip.compress(TABLE.encode())), "packed: unpack it"),
    "meta.zip": (packed, "packed: unpack it"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_that_may_have_the_labels_are_named(folder, name):
    write, what = OTHERS[name]
    write(folder / name)
    (problem,) = problems_of(folder)
    assert problem.startswith(f"{name} may have the labels, but is {what}") and problem.endswith(AWAY)


def test_files_that_do_not_name_the_sounds_are_left_out(folder):
    (folder / "prices.xls").write_bytes("bread 3.50".encode("utf-16-le"))
    (folder / "about.json").write_text('{"sounds": 8}')
    (folder / "features.npy").write_bytes(b"\x93NUMPY" + bytes(90) + ",".join(SOUNDS).encode())
    (folder / "all.txt").write_text("\n".join(SOUNDS))
    with zipfile.ZipFile(folder / "sounds.zip", "w") as file:
        file.writestr("sound1.wav", "")
    assert read_dataset(folder).classes == ["site0", "site1"]


def test_a_text_with_numbers_does_not_name_sounds_that_are_called_so(sounds):
    folder = sounds(*(f"{label}/{number}.wav" for label in ("cat", "dog") for number in range(4)))
    (folder / "README.txt").write_text("recorded on 10 March 2023, 4 sounds")
    assert read_dataset(folder).classes == ["cat", "dog"]


@pytest.mark.parametrize("suffix", [".TextGrid", ".eaf", ".svl", ".jams", ".lab", ".wav.data", ".txt", ".csv", ".json"])
def test_annotations_of_other_programs_are_named(folder, suffix):
    for sound in SOUNDS:
        (folder / sound).with_suffix(suffix).write_text("0 1 dog")
    (problem,) = problems_of(folder)
    assert problem.startswith(f"site0/sound0{suffix} may have the labels (8 such files), but is no label file")


@pytest.mark.parametrize("content", ["0.1\t0.5\tdog\n".encode("utf-16")[:-1], b"0.1\t0.5\tdog\n" + bytes(4), bytes(9)])
def test_a_label_file_that_cannot_be_read_is_named(folder, content):
    for sound in SOUNDS[1:]:
        (folder / sound).with_suffix(".txt").write_text("0.1\t0.2\tdog\n")
    (folder / SOUNDS[0]).with_suffix(".txt").write_bytes(content)
    assert problems_of(folder)[0].startswith("site0/sound0.txt")


def test_a_damaged_table_of_segments_is_named(folder):
    shutil.copy(folder / SOUNDS[0], folder / "Yabcdefghijk.wav")
    (folder / "balanced_train_segments.csv").write_bytes(b"\xff\xfea")
    assert problems_of(folder)[0].startswith("balanced_train_segments.csv: expected text in UTF-16")
