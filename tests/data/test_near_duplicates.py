import csv
import io
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from helpers.data_folder import RATE

import pipeline
from audiotagging.artifacts.near_duplicates import describe_alike, read_alike, write_alike
from audiotagging.data.dataset import read_dataset
from audiotagging.data.near_duplicates import BANDS, PIECES, AcousticFingerprint, acoustic_fingerprint, find_alike
from audiotagging.data.preprocessing import listen, preprocess
from audiotagging.sounds.audio import trim
from audiotagging.sounds.spectrogram import trimmed_spectrogram
from commands import main


def encoded(sound, kind, **options):
    """Return a sound after it was written to a file of some kind."""
    file = io.BytesIO()
    soundfile.write(file, sound, RATE, format=kind, **options)
    return soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")[0]


COPIES = {
    "quieter": lambda sound: 0.1 * sound,
    "silence before": lambda sound: np.concatenate([np.zeros(9_999, np.float32), sound]),
    "a little shorter": lambda sound: sound[1_000:-1_000],
    "resampled": lambda sound: soxr.resample(soxr.resample(sound, RATE, 22_050), 22_050, RATE),
    "noisier": lambda sound: sound + np.random.default_rng(2).normal(0, 0.003, len(sound)).astype(np.float32),
    "Vorbis": lambda sound: encoded(sound, "OGG"),
    "MP3": lambda sound: encoded(sound, "MP3"),
}
LENGTHS = (0.6, 1.2, 3)  # seconds; clips of less than two are padded


def bursts(seed, seconds=2):
    """Bursts of noise in random bands: no two seeds sound alike."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    sound = sum(
        np.sin(2 * np.pi * rng.uniform(100, 9_000) * time) * (np.abs(time - rng.uniform(0, seconds)) < seconds / 10)
        for _ in range(20)
    )
    return (0.04 * sound).astype(np.float32)


def texture(sound):
    samples = trim(sound.astype(np.float32))
    return acoustic_fingerprint(trimmed_spectrogram(samples), samples=len(samples))


def alike(sounds):
    return find_alike([texture(sound) for sound in sounds], [""] * len(sounds))


@pytest.mark.parametrize("seconds", LENGTHS)
@pytest.mark.parametrize("copy", COPIES)
def test_copies_are_alike_and_nothing_else_is(copy, seconds):
    sounds = [bursts(seed, seconds) for seed in range(6)]
    assert alike([*sounds, COPIES[copy](sounds[2])]) == [[2, 6]]


@pytest.mark.parametrize("seconds", LENGTHS)
def test_steady_sounds_are_not_alike(seconds):
    rng = np.random.default_rng(1)
    assert alike([0.1 * rng.normal(size=round(seconds * RATE)) for _ in range(8)]) == []
    silence = np.zeros(round(seconds * RATE))
    assert not texture(silence).fingerprint.any() and alike([silence] * 3) == []


@pytest.mark.parametrize("around", [0.0, 0.001])
def test_what_surrounds_a_short_sound_does_not_make_it_alike(around):
    """A sound of .4 s in a second of silence, which is trimmed and padded, or of faint noise, which is not."""
    rng = np.random.default_rng(1)
    sounds = []
    for seed in range(12):
        sound = around * rng.normal(size=RATE)
        sound[RATE // 3 :][: round(0.4 * RATE)] += bursts(seed, 0.4)
        sounds.append(sound)
    assert alike(sounds) == []


def test_a_sound_that_is_much_longer_is_not_alike():
    """Both rise by an octave, but in one second and in two."""
    short, long = (np.linspace(0, 1, round(seconds * RATE)) for seconds in (1, 2))
    slow, fast = (np.sin(2 * np.pi * np.cumsum(1_000 * 2**time) / RATE) for time in (long, short))
    assert texture(slow).fingerprint @ texture(fast).fingerprint > 0.9
    assert alike([slow, fast]) == []


@pytest.fixture
def table():
    fingerprints = np.random.default_rng(1).normal(size=(2_500, PIECES * BANDS)).astype(np.float32)
    fingerprints /= np.linalg.norm(fingerprints, axis=1, keepdims=True)
    fingerprints[2_400], fingerprints[1_100], fingerprints[[3, 999]] = (
        fingerprints[place] for place in (7, 1_050, 1_050)
    )
    return [AcousticFingerprint(each.astype(np.float16), 100 + place % 10) for place, each in enumerate(fingerprints)]


def test_clips_that_are_alike_are_found_in_large_tables_and_put_together(table):
    groups = [""] * len(table)
    assert find_alike(table, groups) == [[3, 999, 1_050, 1_100], [7, 2_400]]
    table[3] = None
    groups[7] = groups[2_400] = "night"
    assert find_alike(table, groups) == [[999, 1_050, 1_100]]
    groups[999] = groups[1_100] = "day"  # both sound like a clip of another group
    assert find_alike(table, groups) == [[999, 1_050, 1_100]]
    assert find_alike([], []) == find_alike([None], [""]) == []


def test_memory_does_not_grow_with_the_number_of_pairs():
    one = AcousticFingerprint(np.full(PIECES * BANDS, 1 / np.sqrt(PIECES * BANDS), np.float16), 100)
    tracemalloc.start()
    assert find_alike([one] * 5_000, [""] * 5_000) == [list(range(5_000))]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150e6  # of 12 497 500 pairs


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
    assert main(pipeline.PIPELINES, ["check", "--verify", "0", "--data", str(folder)]) == 0
    printed = capsys.readouterr().out
    dataset = read_dataset(folder)
    preprocess(dataset, tmp_path / "out", fingerprint="f", max_rejected=0, workers=1)
    notes = describe_alike(read_alike(tmp_path / "out"), dataset.clips)
    assert [note.partition(": ")[2] for note in notes] == ["cat/4.wav, dog/3.wav and test/dog/9.wav"] * 2
    assert notes[0].startswith("3 clips sound alike in 1 group of test and training clips, which raises the scores;")
    assert notes[1].startswith("3 clips with different labels sound alike in 1 group; check their labels:")
    assert all(f"note: {note}\n" in printed for note in notes)


def test_clips_of_one_group_may_sound_alike(folder):
    names = [f"{'dog' if number % 2 else 'cat'}/{number}.wav" for number in range(10)]
    with (folder / "clips.csv").open("w", newline="") as table:
        groups = [(name, name[:3], "night" if name in ("dog/3.wav", "cat/4.wav") else "") for name in names]
        csv.writer(table).writerows([("path", "labels", "group"), *groups])
    alike = listen(read_dataset(folder), max_rejected=0).alike
    assert alike == []


def test_a_note_is_short_however_many_clips_are_alike(tmp_path):
    names = [f"{number:03}.wav" for number in range(210)]
    groups = [names[:200], *zip(names[200:205], names[205:], strict=True)]
    clips = pd.DataFrame({"clip": names, "part": "curated", "labels": [["dog"]] * len(names)})
    write_alike(tmp_path, groups)
    assert read_alike(tmp_path) == [list(group) for group in groups]
    [note] = describe_alike(groups, clips)
    assert note.startswith("210 clips sound alike in 6 groups of training clips, which raises out-of-fold scores;")
    assert "000.wav, 001.wav, 002.wav, 003.wav and 196 more; 200.wav and 205.wav; " in note
    assert "and 3 more groups; alike.csv beside the spectrograms of a run lists all" in note and len(note) < 300
    assert describe_alike(groups, clips.assign(part="test")) == []  # raises no score


def test_check_shows_what_was_heard_of_every_class(folder, capsys):
    soundfile.write(folder / "cat" / "0.wav", np.zeros(RATE), RATE)
    soundfile.write(folder / "dog" / "1.wav", np.clip(9 * bursts(1), -1, 1), RATE)
    (folder / "dog" / "5.wav").write_bytes(b"RIFF")
    assert main(pipeline.PIPELINES, ["check", "--verify", "0", "--data", str(folder), "--max-rejected", "0.2"]) == 0
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
