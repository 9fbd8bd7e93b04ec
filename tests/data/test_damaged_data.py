"""Damages a data folder, which is then refused in one line, or can be used."""

import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiotagging.artifacts.spectrogram_shards import read_classes, read_clips
from audiotagging.data.dataset import DataError, fingerprint, read_dataset
from audiotagging.data.ingest import ingest
from audiotagging.data.preprocessing import preprocess
from audiotagging.members import DEMO, rows

ROWS = rows(DEMO[:1], [0])
ENSEMBLES = ["train_curated.csv", "train_noisy.csv", "sample_submission.csv", "test_post_competition.csv"]
FOLDERS = ["train_curated", "train_noisy", "test"]
AUDIO = [f"train_curated/c{number:02}.wav" for number in (0, 5, 11)] + ["train_noisy/n2.wav", "test/t0.wav"]
NASTY = [
    "",
    " ",
    ".",
    "..",
    "../test/t0.wav",
    "/etc/passwd",
    "c\0.wav",
    "c\n.wav",
    "n0.wav",
    "ä.wav",
    "a,b",
    '"',
    "x" * 300,
]
FIELDS = st.sampled_from(
    ["c03.wav", "n1.wav", "t1.wav", "Bark", "Meow", "fname", "labels", "usage", "Public", "0", ","]
)
TEXT = st.sampled_from(NASTY) | st.text(max_size=6)


def replace_text(path, old, new):
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode("utf-8", "replace"), 1))


def change_line(path, number, change):
    lines = path.read_bytes().splitlines(keepends=True)
    at = number % len(lines)
    lines[at : at + 1] = {"drop": [], "repeat": lines[at : at + 1] * 2, "blank": [b"\n"], "last": lines[-1:]}[change]
    path.write_bytes(b"".join(lines))


def change_byte(path, at, value):
    content = bytearray(path.read_bytes())
    content[at % len(content)] = value
    path.write_bytes(content)


def encode(path, encoding):
    path.write_bytes(path.read_bytes().decode("latin-1").encode(encoding))


def add_column(path, name, value):
    head, *rows = path.read_bytes().splitlines() or [b""]
    added = [head + f",{name}".encode(), *(row + f",{value}".encode() for row in rows)]
    path.write_bytes(b"\n".join(added))


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


def overwrite(path, content):
    path.write_bytes(content)


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def make_folder(path):
    remove(path)
    path.mkdir()


def make_dangling(path):
    remove(path)
    path.symlink_to("nowhere")


TABLE, SOUND = st.sampled_from(ENSEMBLES), st.sampled_from(AUDIO)
DAMAGES = st.one_of(
    st.tuples(st.just(replace_text), TABLE, FIELDS, TEXT),
    st.tuples(st.just(change_line), TABLE, st.integers(0, 20), st.sampled_from(["drop", "repeat", "blank", "last"])),
    st.tuples(st.just(change_byte), TABLE, st.integers(0, 1000), st.integers(0, 255)),
    st.tuples(st.just(encode), TABLE, st.sampled_from(["utf-16", "utf-8-sig", "utf-32-le"])),
    st.tuples(st.just(add_column), TABLE, st.sampled_from(["fold", "fname", "Hiss", ""]), st.sampled_from("01x")),
    st.tuples(st.just(cut), SOUND, st.integers(0, 200)),
    st.tuples(st.just(overwrite), TABLE | SOUND, st.binary()),
    st.tuples(st.sampled_from([remove, make_folder, make_dangling]), TABLE | SOUND | st.sampled_from(FOLDERS)),
)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("damage")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(DAMAGES, min_size=1, max_size=3), st.sampled_from(["all", "none", "chosen.txt"]))
def test_a_corrupt_folder_is_refused_in_one_line_or_can_be_used(data, work, damages, noisy):
    folder = work / "damaged"
    for path in work.iterdir():
        remove(path)
    shutil.copytree(data, folder)
    (folder / "chosen.txt").write_text("n0.wav\nn2.wav\n")
    for damage, name, *arguments in damages:
        path = folder / name
        if path.exists() and (path.stat().st_size > 0 if path.is_file() else not arguments):
            damage(path, *arguments)
    try:
        found = ingest(str(folder), rows=ROWS, downloads=work / "downloads", noisy=noisy, max_rejected=0.01)
    except DataError as error:
        assert error.problems and not any("\n" in problem for problem in error.problems)
        assert str(error).startswith(f"{folder}: ") and "\n" not in str(error)
        return
    dataset = read_dataset(folder, noisy=noisy)
    assert fingerprint(dataset) == found.fingerprint
    preprocess(dataset, work / "spectrograms", fingerprint=found.fingerprint, max_rejected=0.01, workers=1)
    clips = read_clips(work / "spectrograms")
    assert list(clips["clip"][clips["part"] != "disturbance"]) == list(dataset.clips["clip"])
    assert read_classes(work / "spectrograms") == dataset.classes
