import errno
import math
import os
import shutil
from pathlib import Path

import pytest

from audiotagging.data.dataset import DataError, read_dataset
from audiotagging.data.layouts.tree import list_tree

DOGS = [f"dog/{number}.wav" for number in range(3)]
CATS = [f"cat/{number}.wav" for number in range(3)]


def labels(folder):
    clips = read_dataset(folder).clips
    return {(clip.part, clip.clip): clip.labels for clip in clips.itertuples()}


def test_the_class_is_the_first_folder_and_the_clip_is_named_after_its_path(sounds):
    folder = sounds(*DOGS, *CATS, "cat/far/down/0.wav")
    dataset = read_dataset(folder)
    assert dataset.classes == ["cat", "dog"] and set(dataset.clips["part"]) == {"curated"}
    assert labels(folder) == {
        ("curated", name): [name.partition("/")[0]] for name in [*CATS, "cat/far/down/0.wav", *DOGS]
    }
    assert dataset.clips["path"][3] == str(folder / "cat/far/down/0.wav")
    assert set(dataset.clips["fold"]) == {-1} and set(dataset.clips["end"]) == {math.inf}


@pytest.mark.parametrize("train", ["", "train/"])
def test_the_folder_test_has_the_test_clips(sounds, train):
    training = [train + name for name in [*CATS, *DOGS]]
    folder = sounds(*training, "test/dog/a.wav", "test/unknown.wav")
    assert labels(folder) == {("curated", name): [name.removeprefix("train/")[:3]] for name in training} | {
        ("test", "test/dog/a.wav"): ["dog"],
        ("test", "test/unknown.wav"): [],
    }


def test_trains_can_be_a_class(sounds):
    folder = sounds(*DOGS, "train/0.wav", "train/1.wav", "test/train/2.wav")
    assert read_dataset(folder).classes == ["dog", "train"]


def test_all_that_is_no_sound_is_left_out_and_counted(sounds):
    folder = sounds(*DOGS, *CATS, "loose.wav", "dog/._0.wav", ".trash/0.wav", "__MACOSX/dog/0.wav")
    for name in ("dog/desktop.ini", "dog/Thumbs.db", "dog/notes.txt", "readme.md", "cat/.DS_Store", "cat/0.json"):
        (folder / name).touch()
    dataset = read_dataset(folder)
    assert list(dataset.clips["clip"]) == [*CATS, *DOGS]
    assert "3 files of other kinds, left out: cat/0.json, dog/notes.txt, readme.md" in dataset.notes
    assert "4 hidden files left out" in dataset.notes
    assert "1 sound in no folder of a class, left out: loose.wav" in dataset.notes


NAMES = ["a b.wav", "a, b.wav", 'a"b.wav', "🐶.wav", "🐶 von Ä.WAV", "a\nb.wav", "семь.flac", "#1; a=b.wav", "-x.wav"]


def test_files_can_have_any_name(sounds):
    folder = sounds(*DOGS, *(f"big cat 🐈/{name}" for name in NAMES))
    shutil.copy(folder / DOGS[0], os.fsencode(folder) + b"/dog/\xff.wav")
    found = labels(folder)
    assert all(name.isprintable() and name.encode() for _, name in found)
    assert ("curated", r"dog/\xff.wav") in found and ("curated", r"big cat 🐈/a\nb.wav") in found
    assert len(found) == len(DOGS) + len(NAMES) + 1 and read_dataset(folder).classes == ["big cat 🐈", "dog"]


def test_links_are_followed_but_not_in_circles(sounds, tmp_path):
    folder = sounds(*DOGS, *CATS)
    (folder / "cat").rename(tmp_path / "elsewhere")
    (folder / "cat").symlink_to(tmp_path / "elsewhere")
    (folder / "dog" / "circle").symlink_to(folder)
    assert [name for _, name in labels(folder)] == [*CATS, *DOGS]


def test_few_clips_of_a_class_are_noted_and_many_such_classes_are_counted(sounds):
    folder = sounds(*(f"{number:02}/0.wav" for number in range(20)))
    [note] = read_dataset(folder).notes
    assert "20 classes in one fold only" in note and "'00' (1 clip), '01' (1 clip)," in note and "and 12 more;" in note


@pytest.mark.parametrize(
    ("names", "others", "expected"),
    [
        ([*DOGS, *CATS], ["bird/"], "bird/: expected sounds in the folder of a class, found none; add some"),
        ([*DOGS, *CATS], ["bird/a.mid"], "bird/: expected sounds in the folder of a class, found none; add some"),
        ([*DOGS, *CATS], ["test/"], "test/: expected sounds"),
        (["dog/0.wav", "cat/0.wav"], [], "expected at least one clip for each of 5 folds, found 2"),
        (["sounds/dog/0.wav", "sounds/cat/0.wav"], [], "expected at least 2 classes to tell apart, found 1"),
        ([*DOGS, *CATS, "dog, barking/0.wav"], [], "a class cannot be called 'dog, barking'"),
        ([*DOGS, *CATS, "test/bird/0.wav"], [], "test/bird: no training clip is of this class"),
        (["train/dog/0.wav", "train/cat/0.wav", "val/dog/0.wav"], [], "val/: expected only train/ and test/, found"),
        (["a.wav", "b.wav"], [], "found 2 sounds in no folder"),
        ([], ["a.m4a", "b.MKA"], "found 2 sounds in no folder"),
        ([], ["dog/"], "found no files"),
        ([], ["notes.txt"], "found 1 other file (notes.txt)"),
    ],
)
def test_a_folder_that_cannot_be_used(sounds, names, others, expected):
    folder = sounds(*names)
    for name in others:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).mkdir() if name.endswith("/") else (folder / name).touch()
    with pytest.raises(DataError) as error:
        read_dataset(folder)
    assert any(expected in problem for problem in error.value.problems)
    assert "\n" not in str(error.value)


def test_there_are_no_noisy_clips_to_choose_among(sounds):
    folder = sounds(*DOGS, *CATS)
    assert len(read_dataset(folder, noisy="none").clips) == 6
    assert len(read_dataset(folder, noisy="agreement").clips) == len(read_dataset(folder).clips)
    with pytest.raises(DataError, match=r"noisy=good.txt chooses among its clips"):
        read_dataset(folder, noisy="good.txt")


def test_10000_classes(sounds):
    folder = sounds("0000/0.wav")
    for number in range(1, 10_000):
        (folder / f"{number:04}").mkdir()
        os.link(folder / "0000/0.wav", folder / f"{number:04}/0.wav")
    dataset = read_dataset(folder)
    assert len(dataset.classes) == len(dataset.clips) == 10_000 and len(dataset.notes) == 1


def denied(path, *arguments):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def test_a_folder_that_cannot_be_listed_is_not_left_out(sounds, monkeypatch):
    folder = sounds("dog/a.wav", "cat/b.wav")
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: denied(path) if Path(path).name == "cat" else scan(path))
    with pytest.raises(PermissionError, match="cat"):
        list_tree(folder)


def test_what_only_the_system_may_list_is_left_out(sounds, monkeypatch):
    folder = sounds("dog/a.wav", "lost+found/b.wav")
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: denied(path) if Path(path).name == "lost+found" else scan(path))
    assert [sound.as_posix() for sound in list_tree(folder).sounds] == ["dog/a.wav"]


def test_a_table_that_may_not_be_read_is_not_taken_for_none(sounds, monkeypatch):
    folder = sounds("site/a.wav", "place/b.wav")
    (folder / "labels.csv").write_text("path,labels\nsite/a.wav,dog\nplace/b.wav,cat\n")
    monkeypatch.setattr("audiotagging.base.csv_table.open_file", denied)
    with pytest.raises(DataError) as error:
        read_dataset(folder)
    assert error.value.problems == ["labels.csv cannot be read: Permission denied"]
