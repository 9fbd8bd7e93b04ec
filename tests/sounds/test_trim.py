"""Everything that trims a sound meets digital silence, a single sample, and a file without any."""

import re
from itertools import chain
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch

import audiotagging
from audiotagging.data import preprocessing
from audiotagging.data.preprocessing import Piece
from audiotagging.data.verification import librosa_spectrogram
from audiotagging.export.graphs import Spectrogram
from audiotagging.sounds.acoustics import AcousticMeter
from audiotagging.sounds.audio import decode
from audiotagging.sounds.spectrogram import pad
from audiotagging.sounds.streams import SoundError
from audiotagging.tagging.tagger import piece_spectrograms
from audiotagging.tagging.windows import window_batches

SOUNDS = {"silence": np.zeros(9000), "one sample": np.full(1, 0.5), "one silent sample": np.zeros(1)}
CALL = re.compile(r"^(?!def ).*(?<![>( ]len\()\b_?trim\((?:samples|sound)", re.MULTILINE)
RATES = (8000, 44_100, 96_000, 192_000)


def by_preprocessing(path):
    found = preprocessing._process(Piece(str(path), 0, np.inf, True))
    if found.spectrogram is None:
        raise SoundError(found.reason)
    assert np.isfinite(found.acoustics).all() and found.excerpt and found.texture
    return found.spectrogram


def by_tagging(path):
    meter = AcousticMeter()
    (spectrogram,) = piece_spectrograms(path, meter=meter)
    assert np.isfinite(meter.measure()).all()
    return spectrogram


def by_windows(path):
    found = list(chain.from_iterable(window_batches(path, every=2.0)))
    return found[0][2] if found else np.zeros((128, 128), np.uint8)  # silent windows are left out


USERS = {
    "data/preprocessing.py": by_preprocessing,
    "data/verification.py": lambda path: librosa_spectrogram(path, start=0, end=np.inf).spectrogram,
    "tagging/tagger.py": by_tagging,
    "sounds/spectrogram.py": by_windows,
    "export/graphs.py": lambda path: Spectrogram()(torch.from_numpy(decode(path).samples)).numpy(),
}


def test_the_table_lists_what_trims_sounds():
    folder = Path(audiotagging.__file__).parent
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py") if CALL.search(path.read_text())}
    assert found == set(USERS)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("sound", SOUNDS)
@pytest.mark.parametrize("user", USERS)
def test_next_to_nothing_is_a_sound(tmp_path, user, sound, rate):
    path = tmp_path / "sound.wav"
    soundfile.write(path, SOUNDS[sound], rate, subtype="FLOAT")
    samples = decode(path).samples  # one sample at a high rate is less than one at 44 100 Hz, which is silent
    trimmed, _ = librosa.effects.trim(samples, top_db=60)
    mel = librosa.feature.melspectrogram(
        y=pad(trimmed), sr=44_100, n_fft=2560, hop_length=694, n_mels=128, fmin=20, fmax=22_050, pad_mode="reflect"
    )
    decibels = librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=80.0).T
    span = np.ptp(decibels) or 1
    expected = (255 * (decibels - decibels.min()) / span).astype(np.uint8)
    found = USERS[user](path)
    assert found.shape == expected.shape and found.any() == samples.any()
    assert np.abs(found.astype(int) - expected).max() <= 1  # rounding


@pytest.mark.parametrize("user", USERS)
def test_nothing_is_no_sound(tmp_path, user):
    soundfile.write(tmp_path / "sound.wav", np.zeros(0), 96_000)
    with pytest.raises(SoundError):
        USERS[user](tmp_path / "sound.wav")
