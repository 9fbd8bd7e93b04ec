"""The check of random clips against librosa, and what it makes of wrong spectrograms."""

import importlib.util
import io
import math
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import scipy.fft
import soundfile

from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.artifacts.verified import read_verified
from audiotagging.base.errors import UserError
from audiotagging.base.gate import explain
from audiotagging.data import preprocessing, verification
from audiotagging.data.dataset import Dataset
from audiotagging.data.preprocessing import listen, preprocess
from audiotagging.data.verification import WrongSpectrogramError, draw, librosa_spectrogram
from audiotagging.sounds import audio, recordings, spectrogram
from audiotagging.sounds.audio import RATE, decode
from audiotagging.sounds.spectrogram import clip_spectrogram
from commands import main

ROOT = Path(__file__).parents[2]
CLIPS = 12
OPTIONS = {"fingerprint": "abc", "max_rejected": 0.5}


@pytest.fixture(autouse=True, scope="module")
def librosa_is_imported():
    """Import what librosa imports only when it is used, here once: the processes of the checks are forks of this."""
    librosa.effects.trim(librosa.feature.melspectrogram(y=np.ones(4000, np.float32))[0])


def sound(number):
    """A second of noise under an envelope, and of a tone, with quiet ends."""
    rng = np.random.default_rng(number)
    seconds = np.arange(RATE) / RATE
    envelope = np.interp(seconds, [0.1, 0.2, 0.8, 0.9], [0, 0.3, 0.01, 0])
    return envelope * (rng.normal(0, 0.2, RATE) + np.sin(2 * np.pi * rng.uniform(100, 5000) * seconds))


@pytest.fixture
def dataset(tmp_path):
    """Twelve clips, every fourth of two channels at another rate."""
    for number in range(CLIPS):
        samples = sound(number) if number % 4 else np.stack([sound(number), sound(number + 1)], axis=1)
        soundfile.write(tmp_path / f"{number:02}.wav", samples, RATE if number % 4 else 32_000)
    paths = sorted(tmp_path.glob("*.wav"))
    clips = pd.DataFrame({"clip": [path.name for path in paths], "path": [str(path) for path in paths]})
    clips = clips.assign(part="curated", labels=[["hum"]] * CLIPS, usage="", start=0.0, end=np.inf, group="")
    return Dataset(tmp_path, ["hum"], clips.assign(fold=np.int8(-1)), "all", [])


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_healthy_clips_are_equal_and_the_folder_says_so(tmp_path, dataset, caplog):
    with caplog.at_level("INFO"):
        preprocess(dataset, tmp_path / "checked", **OPTIONS, verify=7, workers=1)
    found = read_verified(tmp_path / "checked")
    assert (found.checked, found.clips, found.decoded_by_us) == (7, CLIPS, 0) and found.different < 1e-3
    assert found.libraries["librosa"] == librosa.__version__ and found.libraries["numpy"] == np.__version__
    assert found.processor
    assert f"7 of 12 clips checked against librosa {librosa.__version__}: equal" in caplog.text
    preprocess(dataset, tmp_path / "again", **OPTIONS, verify=7, workers=3)
    preprocess(dataset, tmp_path / "unchecked", **OPTIONS, workers=1)
    assert files(tmp_path / "again") == files(tmp_path / "checked")
    others = files(tmp_path / "checked")
    del others["verified.json"]
    assert files(tmp_path / "unchecked") == others
    assert read_verified(tmp_path / "unchecked") is None


def test_the_fingerprint_draws_the_clips(dataset):
    drawn = draw(dataset.clips, count=7, fingerprint="abc")
    assert drawn == draw(dataset.clips, count=7, fingerprint="abc") != draw(dataset.clips, count=7, fingerprint="abd")
    assert len(drawn) == 7 and all(dataset.clips["clip"][place] == clip.clip for place, clip in drawn.items())
    assert len(draw(dataset.clips, count=10**6, fingerprint="abc")) == CLIPS
    often = [place for number in range(400) for place in draw(dataset.clips, count=2, fingerprint=str(number))]
    assert min(np.bincount(often, minlength=CLIPS)) > 20  # of 67 that are expected


def test_clips_that_cannot_be_used_are_not_counted(tmp_path, dataset):
    for number in range(4):
        (dataset.folder / f"{number:02}.wav").write_bytes(b"RIFF, or something like it")
    preprocess(dataset, tmp_path / "out", **OPTIONS, verify=CLIPS, workers=1)
    found = read_verified(tmp_path / "out")
    assert (found.checked, found.clips) == (8, 8)


def wrong_fft(windowed, **options):
    bins = RIGHT_FFT(windowed, **options)
    bins[..., 20] *= 1.5
    return bins


def wrong_product(*operands, out):
    RIGHT_PRODUCT(*operands, out=out)
    out[..., -1] *= 1.05


RIGHT_FFT, RIGHT_PRODUCT = scipy.fft.rfft, np.matmul
WRONG = {
    "FFT": (scipy.fft, "rfft", wrong_fft),
    "product of matrices": (np, "matmul", wrong_product),
    "mel filters": (spectrogram, "MEL_GROUPS", [(a, b, c * (1 + c.max())) for a, b, c in spectrogram.MEL_GROUPS]),
    "hop": (spectrogram, "HOP", 695),
    "window": (spectrogram, "WINDOW", np.sqrt(spectrogram.WINDOW)),
    "trimming": (preprocessing, "trim", lambda samples: samples[512:]),
    "decoding": (recordings, "to_mono", lambda samples, channels: samples.reshape(len(samples), -1)[:, 0]),
    "resampling": (
        audio,
        "_resample",
        lambda samples, rate: librosa.resample(samples, orig_sr=rate, target_sr=RATE - 1),
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_anything_wrong_is_a_defect(dataset, monkeypatch, what):
    monkeypatch.setattr(*WRONG[what])
    with pytest.raises(WrongSpectrogramError) as caught:
        listen(dataset, max_rejected=0, verify=CLIPS)
    kind, message = explain(caught.value)
    assert kind == "defect" and "\n" not in message
    assert message.startswith("WrongSpectrogramError: ") and ".wav: expected the spectrogram that librosa" in message
    processor, versions = verification.processor_name(), f"librosa {librosa.__version__}, numpy {np.__version__}"
    assert f"on {processor} with {versions}" in message and "openblas" in message
    assert message.endswith("nothing was written")


def test_the_command_ends_with_the_code_of_a_defect_and_nothing_is_written(data, monkeypatch, capsys):
    monkeypatch.setattr(scipy.fft, "rfft", wrong_fft)
    monkeypatch.setattr(tempfile, "tempdir", str(data.parent))  # where tracebacks go
    out = data.parent / "out"
    for command in (["preprocess", "--data", str(data), "--out", str(out)], ["check", "--data", str(data)]):
        assert main({}, command) == 70
        assert "defect: WrongSpectrogramError: " in capsys.readouterr().err
    assert not out.exists() and not out.with_name("out.part").exists()


def test_rounding_may_move_few_pixels_by_one_level(dataset, monkeypatch):
    right = preprocessing.trimmed_spectrogram
    limit = 16  # of 128 x 128 pixels: .1 %

    def moved(pixels):
        def compute(samples):
            found = right(samples)
            found.flat[: pixels * 2 : 2] ^= 1
            return found

        return compute

    monkeypatch.setattr(preprocessing, "trimmed_spectrogram", moved(limit - 2))
    found = listen(dataset, max_rejected=0, verify=CLIPS).verified
    assert 5e-4 < found.different < 1e-3
    monkeypatch.setattr(preprocessing, "trimmed_spectrogram", moved(limit + 2))
    with pytest.raises(WrongSpectrogramError, match=r"\.wav: .*0\.11% of its pixels one level off, and 0\.11% of all"):
        listen(dataset, max_rejected=0, verify=CLIPS)


@pytest.mark.parametrize(
    ("subtype", "rate", "decoded_by_us"),
    [("PCM_16", RATE, False), ("PCM_24", 48_000, False), ("FLOAT", 22_050, False), ("IMA_ADPCM", RATE, True)],
)
@pytest.mark.parametrize("start", [0.1, 0.29, 1.2345])
def test_pieces_are_those_samples_exactly(tmp_path, subtype, rate, decoded_by_us, start):
    long = np.concatenate([sound(number) for number in range(4)])
    soundfile.write(tmp_path / "long.wav", long, rate, subtype=subtype)
    found = librosa_spectrogram(tmp_path / "long.wav", start=start, end=start + 1.3)
    expected = clip_spectrogram(decode(tmp_path / "long.wav", start=start, end=start + 1.3).samples)
    difference = np.abs(found.spectrogram.astype(int) - expected)
    assert found.decoded_by_us == decoded_by_us and difference.max() <= 1 and (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("name", ["clip.flac", "clip.ogg", "clip.mp3", "clip.aiff", "\udcff clip.wav"])
def test_librosa_decodes_whole_files_of_all_formats_that_libsndfile_reads(tmp_path, name):
    with (tmp_path / name).open("wb") as file:
        soundfile.write(file, sound(1), RATE, format=Path(name).suffix[1:])
    assert not librosa_spectrogram(tmp_path / name, start=0.0, end=math.inf).decoded_by_us


@pytest.mark.parametrize(
    ("change", "decoded_by_us"),
    [
        (lambda sound: sound, False),
        (lambda sound: replace(sound, samples=np.tile(sound.samples, 2)), True),  # libsndfile stopped in the middle
        (lambda sound: replace(sound, samples=sound.samples[:-1]), False),  # it did not, but we did
        (lambda sound: replace(sound, repairs=(*sound.repairs, "damaged")), True),
        (lambda sound: replace(sound, recording=replace(sound.recording, format="wav")), True),  # FFmpeg decoded it
    ],
)
def test_samples_are_ours_only_where_librosa_has_fewer_or_we_repaired_them(
    tmp_path, monkeypatch, change, decoded_by_us
):
    soundfile.write(tmp_path / "clip.wav", sound(1), RATE)
    monkeypatch.setattr(verification, "decode", lambda path, **piece: change(decode(path, **piece)))
    assert librosa_spectrogram(tmp_path / "clip.wav", start=0.0, end=math.inf).decoded_by_us == decoded_by_us


def without_length(name):
    """A file whose header was written before its sound, and never completed."""
    with io.BytesIO() as file:
        soundfile.write(file, sound(1), 48_000, format=name, subtype="PCM_16")
        content = bytearray(file.getvalue())
    place = {"WAV": slice(40, 44), "FLAC": slice(22, 26)}[name]  # the size of the data; the number of samples
    content[place] = bytes(4)
    return bytes(content)


@pytest.mark.parametrize("content", [b"ftyp, or the like", without_length("WAV"), without_length("FLAC")])
def test_what_libsndfile_cannot_read_is_checked_from_our_samples(tmp_path, monkeypatch, content):
    soundfile.write(tmp_path / "whole.wav", sound(1), RATE)
    ours = decode(tmp_path / "whole.wav")
    (tmp_path / "clip").write_bytes(content)
    monkeypatch.setattr(verification, "decode", lambda path, **piece: ours)
    found = librosa_spectrogram(tmp_path / "clip", start=0.0, end=math.inf)
    assert found.decoded_by_us and np.abs(found.spectrogram.astype(int) - clip_spectrogram(ours.samples)).max() <= 1


def test_without_librosa_one_line_names_the_remedy(tmp_path, dataset, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^--verify 16: expected .*librosa.*pip install librosa.*\(--verify 0\)$"):
        preprocess(dataset, tmp_path / "out", **OPTIONS, verify=16)
    preprocess(dataset, tmp_path / "out", **OPTIONS, verify=0, workers=1)
    assert len(read_clips(tmp_path / "out"))


def test_a_killed_process_is_reported(dataset, monkeypatch):
    monkeypatch.setattr(verification, "_compute", lambda drawn: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(UserError, match="the process that computes spectrograms by librosa was killed"):
        listen(dataset, max_rejected=0, verify=3)


def test_an_error_of_the_process_is_that_of_the_stage(dataset, monkeypatch):
    monkeypatch.setattr(verification, "_compute", lambda drawn: {}[0])
    with pytest.raises(KeyError) as caught:
        listen(dataset, max_rejected=0, verify=3)
    assert "in _answer" in caught.value.__notes__[0]


def test_check_says_it(data, capsys):
    assert main({}, ["check", "--data", str(data), "--verify", "5"]) == 0
    assert f"5 of 19 clips checked against librosa {librosa.__version__}: equal" in capsys.readouterr().out
    assert main({}, ["check", "--data", str(data), "--verify", "0"]) == 0
    assert "librosa" not in capsys.readouterr().out
    assert main({}, ["check", "--data", str(data), "--verify", "-1"]) == 2
    assert "expected a number of clips, such as 16, or 0 for none, found '-1'" in capsys.readouterr().err


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "verified.json").write_text('{"checked": 16}')
    with pytest.raises(UserError, match=r"verified\.json: expected the key clips, found no such key"):
        read_verified(tmp_path)


WITHOUT_COMPILER = """
import sys, types
from pathlib import Path
from audiotagging.data import verification
sys.modules["llvmlite"] = None
verification._replace_numba()
found = verification.librosa_spectrogram(Path(sys.argv[1]), start=0.0, end=float("inf"))
sys.stdout.buffer.write(found.spectrogram.tobytes())
"""


def test_librosa_needs_no_compiler_for_this(tmp_path):
    soundfile.write(tmp_path / "clip.wav", sound(1), RATE)
    command = [sys.executable, "-c", WITHOUT_COMPILER, tmp_path / "clip.wav"]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": "src"})
    assert done.returncode == 0, done.stderr.decode()
    expected = librosa_spectrogram(tmp_path / "clip.wav", start=0.0, end=math.inf).spectrogram
    assert done.stdout == expected.tobytes()
