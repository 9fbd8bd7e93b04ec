import argparse
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile
from kfp import dsl

from audiotagging.artifacts.acoustics_table import read_acoustics
from audiotagging.artifacts.excerpts import EXCERPTS, read_excerpts
from audiotagging.artifacts.spectrogram_shards import (
    read_clips,
    read_fingerprint,
    read_notes,
    read_rejected,
    read_spectrograms,
)
from audiotagging.base.errors import UserError
from audiotagging.data import preprocessing
from audiotagging.data.dataset import Dataset, fingerprint, read_dataset
from audiotagging.data.preprocessing import preprocess
from audiotagging.data.synthetic_negatives import make_disturbances
from audiotagging.demo import write_dataset
from audiotagging.sounds.acoustics import measure
from audiotagging.sounds.audio import RATE, trim
from audiotagging.sounds.spectrogram import clip_spectrogram
from commands import preprocess as preprocess_command
from components import preprocess as stage

PARTS = ["curated"] * 40 + ["noisy"] * 20 + ["test"] * 10


OPTIONS = {"fingerprint": "abc", "max_rejected": 0.01}


def noise(number):
    """The samples of a clip, as 16-bit integers."""
    rng = np.random.default_rng(number)
    return rng.integers(-3000, 3000, int(rng.integers(1, 3 * RATE)), np.int16)


@pytest.fixture
def dataset(tmp_path):
    """70 clips of noise in three parts."""
    rows = []
    for number, part in enumerate(PARTS):
        path = tmp_path / f"{number:02d}.wav"
        soundfile.write(path, noise(number), RATE)
        rows.append([path.name, part, str(path), ["hum"], "Public" if part == "test" else "", number % 5])
    clips = pd.DataFrame(rows, columns=["clip", "part", "path", "labels", "usage", "fold"]).astype({"fold": "int8"})
    clips = clips.assign(start=0.0, end=np.inf, group="")
    return Dataset(tmp_path, ["hiss", "hum"], clips, "all", ["more.wav is not listed"])


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_clip_is_there_in_order(tmp_path, dataset):
    preprocess(dataset, tmp_path / "out", **OPTIONS, workers=1)
    read = read_spectrograms(tmp_path / "out")
    assert read_fingerprint(tmp_path / "out") == "abc"
    assert read.classes == dataset.classes and read_notes(tmp_path / "out") == dataset.notes
    given = read.clips.query("part != 'disturbance'").drop(columns=["seconds", "frames"])
    assert given.to_dict("records") == dataset.clips.drop(columns=["path", "start", "end", "group"]).to_dict("records")
    for number in (0, 41, 69):
        expected = clip_spectrogram(noise(number) * np.float32(2**-15))
        assert np.array_equal(read.frames[read.offsets[number] : read.offsets[number + 1]], expected)


def test_the_acoustics_of_every_clip_are_kept_but_not_of_one_that_cannot_be_used(tmp_path, dataset):
    Path(dataset.clips["path"][3]).write_bytes(b"RIFF, or something like it")
    preprocess(dataset, tmp_path / "out", fingerprint="abc", max_rejected=0.05, workers=1)
    table = read_acoustics(tmp_path / "out")
    used = dataset.clips.drop(index=3)
    assert table[["clip", "part"]].values.tolist() == used[["clip", "part"]].values.tolist()
    for number in (0, 41, 69):
        expected = measure(trim(noise(number) * np.float32(2**-15)))
        found = table[table["clip"] == f"{number:02d}.wav"].iloc[0, 2:]
        assert found.tolist() == pytest.approx(expected, rel=1e-5)


def test_disturbances_follow(tmp_path, dataset):
    preprocess(dataset, tmp_path / "out", **OPTIONS, workers=1)
    read = read_spectrograms(tmp_path / "out", parts=["disturbance"])
    expected = list(make_disturbances(dataset.classes, dataset.clips[:40]))
    assert list(read.clips["clip"]) == [sound.name for sound in expected]
    assert list(read.clips["labels"]) == [sound.labels for sound in expected]
    for sound, frames in zip(expected, np.split(read.frames, read.offsets[1:-1]), strict=True):
        assert np.array_equal(frames, clip_spectrogram(sound.samples))


def test_the_number_of_workers_changes_no_byte(tmp_path, dataset):
    for workers in (1, 2, 10**20):
        preprocess(dataset, tmp_path / f"out{workers}", **OPTIONS, workers=workers)
    assert files(tmp_path / "out1") == files(tmp_path / "out2") == files(tmp_path / f"out{10**20}")


@pytest.mark.slow
def test_excerpts_are_kept_beside_the_same_shards(tmp_path, dataset):
    Path(dataset.clips["path"][3]).write_bytes(b"RIFF, or something like it")
    dataset.clips.at[65, "labels"] = []
    options = {"fingerprint": "abc", "max_rejected": 0.05}
    preprocess(dataset, tmp_path / "silent", **options, workers=1)
    preprocess(dataset, tmp_path / "kept", **options, keep_audio=True, workers=1)
    preprocess(dataset, tmp_path / "again", **options, keep_audio=True, workers=3)
    kept = files(tmp_path / "kept")
    assert kept == files(tmp_path / "again")
    assert kept.keys() - files(tmp_path / "silent") == {EXCERPTS}
    assert {name: data for name, data in kept.items() if name != EXCERPTS} == files(tmp_path / "silent")
    excerpts = read_excerpts(tmp_path / "kept", clips=dataset.clips["clip"])
    parts, bad = dataset.clips.set_index("clip")["part"], ("03.wav", "65.wav")
    assert list(excerpts) == [clip for clip in dataset.clips["clip"] if parts[clip] != "noisy" and clip not in bad]
    seconds = read_clips(tmp_path / "kept").set_index("clip")["seconds"]
    assert all(excerpt.seconds == seconds[clip] for clip, excerpt in excerpts.items())
    sound, rate = soundfile.read(io.BytesIO(excerpts["69.wav"].sound))
    assert len(sound) / rate == pytest.approx(seconds["69.wav"], abs=1e-3)


def test_bad_clips_are_listed_and_the_run_continues(tmp_path, dataset):
    Path(dataset.clips["path"][3]).write_bytes(b"RIFF, or something like it")
    Path(dataset.clips["path"][45]).unlink()
    preprocess(dataset, tmp_path / "out", fingerprint="abc", max_rejected=0.05, workers=2)
    rejected = read_rejected(tmp_path / "out")
    assert rejected[["clip", "part", "place"]].values.tolist() == [["03.wav", "curated", 3], ["45.wav", "noisy", 5]]
    assert list(rejected["reason"]) == [
        "cannot be decoded: it is no sound file of a known format",
        "cannot be read: No such file or directory",
    ]
    clips = read_clips(tmp_path / "out").query("part != 'disturbance'")
    assert list(clips["clip"]) == [clip for clip in dataset.clips["clip"] if clip not in ("03.wav", "45.wav")]


def test_clips_of_whose_files_something_was_not_used_are_listed(tmp_path, dataset, caplog):
    cut, wired = (Path(dataset.clips["path"][number]) for number in (3, 45))
    soundfile.write(cut, noise(3), RATE)
    cut.write_bytes(cut.read_bytes()[: 44 + 2 * RATE // 10])
    soundfile.write(wired, np.stack([noise(45), -noise(45)], axis=1), RATE)
    with caplog.at_level("INFO"):
        preprocess(dataset, tmp_path / "out", **OPTIONS, workers=1)
    table = pd.read_csv(tmp_path / "out" / "incomplete.csv")
    stated, length = len(noise(3)) / RATE, len(noise(45)) / RATE
    assert table.fillna(0).values.tolist() == [
        ["03.wav", "curated", 0.1, round(stated, 3), f"cut short: 0.10 of {stated:.2f} s stated"],
        ["45.wav", "noisy", round(length, 3), 0, "channels cancel: only the left one was used"],
    ]
    assert "1 channels cancel, 1 cut short" in caplog.text
    expected = clip_spectrogram(noise(45) * np.float32(2**-15))
    read = read_spectrograms(tmp_path / "out")
    assert np.array_equal(read.frames[read.offsets[45] : read.offsets[46]], expected)


def test_the_command(tmp_path):
    write_dataset(tmp_path / "data", curated=13, noisy=13, test=13)
    parser = argparse.ArgumentParser()
    preprocess_command.add_arguments(parser)
    args = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    assert preprocess_command.run(parser.parse_args([*args, "--workers", "2", "--keep-audio"])) == 0
    assert (tmp_path / "out" / EXCERPTS).exists()
    clips = read_clips(tmp_path / "out")["part"].value_counts()
    assert clips.drop("disturbance").to_dict() == {"curated": 13, "noisy": 13, "test": 13}
    with pytest.raises(UserError, match="at least 1, found 0"):
        preprocess_command.run(parser.parse_args([*args, "--workers", "0"]))


def test_too_many_bad_clips_of_a_part_are_an_error(tmp_path, dataset):
    for number in (60, 62, 64, 66):
        Path(dataset.clips["path"][number]).write_bytes(b"")
    with pytest.raises(
        UserError, match=r"^4 of 10 test clips .* 1.0% .*60.wav \(.*62.wav \(.*64.wav \([^,]*, \.\.\.; .*$"
    ):
        preprocess(dataset, tmp_path / "out", **OPTIONS, workers=1)
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.part").exists()


def test_a_killed_worker_is_reported(tmp_path, dataset, monkeypatch):
    monkeypatch.setattr(preprocessing, "CONTEXT", multiprocessing.get_context("fork"))
    monkeypatch.setattr(preprocessing, "decode", lambda path, **piece: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(MemoryError, match="one of 2 worker processes was killed, most likely because memory ran out"):
        preprocess(dataset, tmp_path / "out", **OPTIONS, workers=2)
    assert not (tmp_path / "out").exists()


def test_lengths_count_neither_silence_nor_padding(tmp_path, dataset):
    lengths = {0: 0.35, 1: 1.0, 2: 2.5}  # seconds of sound
    for number, seconds in lengths.items():
        sound = np.random.default_rng(1).integers(-3000, 3000, round(seconds * RATE), np.int16)
        soundfile.write(dataset.clips["path"][number], np.pad(sound, RATE), RATE)
    preprocess(dataset, tmp_path / "out", **OPTIONS, workers=1)
    clips = read_clips(tmp_path / "out")
    for number, seconds in lengths.items():
        trimmed, _ = librosa.effects.trim(soundfile.read(dataset.clips["path"][number])[0], top_db=60)
        assert clips["seconds"][number] == pytest.approx(len(trimmed) / RATE)
        assert seconds < clips["seconds"][number] < seconds + 0.1  # a frame with some sound is not silent
        assert clips["frames"][number] == 1 + max(len(trimmed), 2 * RATE) // 694


def test_the_stage_refuses_data_that_changed_since_ingest(tmp_path):
    write_dataset(tmp_path / "data", curated=26, noisy=13, test=13)
    folder = tmp_path / "data"
    found = fingerprint(read_dataset(folder))
    arguments = {"folder": str(folder), "fingerprint": found, "noisy_part": True, "corrections": []}
    arguments |= {
        "downloads": str(tmp_path / "downloads"),
        "reading": {},
        "max_rejected": 0.01,
        "keep_audio": True,
        "test_share": 0.0,
        "split_seed": 0,
        "verify": 0,
    }
    with next((folder / "test").iterdir()).open("ab") as sound:
        sound.write(b"\0")
    with pytest.raises(UserError, match="has changed since ingest read it"):
        stage.preprocess.python_func(**arguments, spectrograms=dsl.Dataset(uri=str(tmp_path / "out")))


@pytest.mark.parametrize("change", [lambda path: path.write_bytes(b"RIFF"), lambda path: os.utime(path, (1, 1))])
def test_data_that_change_while_they_are_read_are_refused(tmp_path, dataset, monkeypatch, change):
    process, left = preprocessing._process, iter(range(20))

    def changing(piece):
        if next(left, None) == 19:
            change(tmp_path / "03.wav")  # which has been read
        return process(piece)

    monkeypatch.setattr(preprocessing, "_process", changing)
    with pytest.raises(UserError, match="has changed while it was read"):
        preprocess(dataset, tmp_path / "out", **OPTIONS, workers=1)
    assert not list(tmp_path.glob("out*"))


def test_repairs_are_counted(tmp_path, dataset, caplog):
    soundfile.write(dataset.clips["path"][0], np.ones((3 * RATE, 2)) * 0.1, 48_000)
    short = sum(len(trim(noise(number) * np.float32(2**-15))) < 2 * RATE for number in range(1, len(PARTS)))
    with caplog.at_level("INFO"):
        preprocess(dataset, tmp_path / "out", **OPTIONS, workers=1)
    assert f"70 clips: 0 rejected, 1 mixed to mono, {short} padded, 1 resampled" in caplog.text


KILLED = """
import pickle, sys, time
from pathlib import Path
from audiotagging.data import preprocessing
from audiotagging.sounds.acoustics import measure

def slow(things, **how):
    for thing in things:
        time.sleep(0.05)
        yield thing

if __name__ == "__main__":
    preprocessing.track = slow
    dataset = pickle.loads(Path(sys.argv[1]).read_bytes())
    preprocessing.preprocess(dataset, Path(sys.argv[2]), fingerprint="abc", max_rejected=0.01, workers=2)
"""


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def group_exists(pid):
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_stage_leaves_nothing_that_looks_finished(tmp_path, dataset):
    pd.to_pickle(dataset, tmp_path / "dataset.pickle")
    (tmp_path / "killed.py").write_text(KILLED)
    out = tmp_path / "out"
    command = [sys.executable, tmp_path / "killed.py", tmp_path / "dataset.pickle", out]
    stage = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": "src"}, process_group=0)
    wait_until(lambda: list(tmp_path.glob("out.part/*/*.parquet")))
    assert stage.poll() is None
    os.kill(stage.pid, signal.SIGKILL)
    stage.wait()
    assert not out.exists()
    wait_until(lambda: not group_exists(stage.pid))  # the workers end too
    preprocess(dataset, out, **OPTIONS, workers=1)
    assert (read_clips(out)["part"] != "disturbance").sum() == 70
    assert not (tmp_path / "out.part").exists()
