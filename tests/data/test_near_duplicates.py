import csv

import numpy as np
import pytest
import soundfile
import soxr
from helpers.data_folder import RATE

import pipeline
from audiotagging.artifacts.alike import describe_alike, read_alike
from audiotagging.data.audio import trim
from audiotagging.data.dataset import read_dataset
from audiotagging.data.near_duplicates import find_alike, take_texture
from audiotagging.data.preprocessing import listen, preprocess
from audiotagging.data.spectrogram import trimmed_spectrogram
from commands import main

COPIES = {
    "quieter": lambda sound: 0.1 * sound,
    "silence before": lambda sound: np.concatenate([np.zeros(9_999, np.float32), sound]),
    "a little shorter": lambda sound: sound[1_000:-1_000],
    "resampled": lambda sound: soxr.resample(soxr.resample(sound, RATE, 32_000), 32_000, RATE),
    "noisier": lambda sound: sound + np.random.default_rng(2).normal(0, 0.003, len(sound)).astype(np.float32),
}


def bursts(seed, seconds=2):
    """Bursts of noise in random bands: no two seeds sound alike."""
    rng = np.random.default_rng(seed)
    time = np.arange(seconds * RATE) / RATE
    sound = sum(
        np.sin(2 * np.pi * rng.uniform(100, 9_000) * time) * (np.abs(time - rng.uniform(0, seconds)) < 0.2)
        for _ in range(20)
    )
    return (0.04 * sound).astype(np.float32)


def texture(sound):
    return take_texture(trimmed_spectrogram(trim(sound.astype(np.float32))))


@pytest.mark.parametrize("copy", COPIES)
def test_copies_are_alike_and_nothing_else_is(copy):
    sounds = [bursts(seed) for seed in range(6)]
    assert find_alike([texture(sound) for sound in [*sounds, COPIES[copy](sounds[2])]]) == [(2, 6)]


def test_steady_sounds_are_not_alike():
    rng = np.random.default_rng(1)
    assert find_alike([texture(0.1 * rng.normal(size=2 * RATE)) for _ in range(8)]) == []
    assert not texture(np.zeros(RATE)).any() and find_alike([texture(np.zeros(RATE))] * 3) == []


def test_pairs_are_found_in_large_tables():
    table = np.random.default_rng(1).normal(size=(2_500, 512)).astype(np.float32)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    table[2_400], table[1_100] = table[7], table[1_050]
    assert find_alike(list(table)) == [(7, 2_400), (1_050, 1_100)]
    assert find_alike([]) == []


@pytest.fixture
def folder(sounds):
    """Ten clips, of which three are one sound: a training clip of another class, and a test clip."""
    folder = sounds("test/dog/9.wav")
    for number in range(10):
        path = folder / ("dog" if number % 2 else "cat") / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, bursts(number), RATE, subtype="PCM_16")
    soundfile.write(folder / "cat" / "4.wav", 0.5 * bursts(3), RATE, subtype="PCM_16")
    soundfile.write(folder / "test" / "dog" / "9.wav", 0.5 * bursts(3), RATE, subtype="PCM_16")
    return folder


def test_clips_that_sound_alike_are_named_by_check_and_by_the_report(folder, tmp_path, capsys):
    assert main(pipeline.PIPELINES, ["check", "--data", str(folder)]) == 0
    printed = capsys.readouterr().out
    dataset = read_dataset(folder)
    preprocess(dataset, tmp_path / "out", fingerprint="f", max_rejected=0, workers=1)
    notes = describe_alike(read_alike(tmp_path / "out"), dataset.clips)
    assert [note.rpartition(": ")[2] for note in notes] == [
        "cat/4.wav and test/dog/9.wav; dog/3.wav and test/dog/9.wav",
        "cat/4.wav and dog/3.wav",
        "cat/4.wav and dog/3.wav; cat/4.wav and test/dog/9.wav",
    ]
    assert all(f"note: {note}\n" in printed for note in notes)


def test_clips_of_one_group_may_sound_alike(folder):
    names = [f"{'dog' if number % 2 else 'cat'}/{number}.wav" for number in range(10)]
    with (folder / "clips.csv").open("w", newline="") as table:
        groups = [(name, name[:3], "night" if name in ("dog/3.wav", "cat/4.wav") else "") for name in names]
        csv.writer(table).writerows([("path", "labels", "group"), *groups])
    _, alike = listen(read_dataset(folder), max_rejected=0)
    assert len(alike) == 0


def test_check_shows_what_was_heard_of_every_class(folder, capsys):
    soundfile.write(folder / "cat" / "0.wav", np.zeros(RATE), RATE)
    soundfile.write(folder / "dog" / "1.wav", np.clip(9 * bursts(1), -1, 1), RATE)
    (folder / "dog" / "5.wav").write_bytes(b"RIFF")
    assert main(pipeline.PIPELINES, ["check", "--data", str(folder), "--max-rejected", "0.2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    header = next(line for line in lines if line.startswith("class"))
    rows = {
        line.split()[0]: dict(zip(header.split(), line.split(), strict=True))
        for line in lines
        if line[:4] in ("cat ", "dog ")
    }
    assert {name: (row["train"], row["test"]) for name, row in rows.items()} == {"cat": ("5", "0"), "dog": ("5", "1")}
    counts = {name: [row[column] for column in ("unreadable", "silent", "clipped")] for name, row in rows.items()}
    assert counts == {"cat": ["0", "1", "0"], "dog": ["1", "0", "1"]}
    assert 8.5 < float(rows["dog"]["seconds"]) <= 10 and float(rows["dog"]["longest"]) <= 2
