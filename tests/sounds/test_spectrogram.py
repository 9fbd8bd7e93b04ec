from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotagging.sounds.audio import RATE, decode
from audiotagging.sounds.spectrogram import SHORTEST, WINDOW, clip_spectrogram, log_mel, mel_filters, pad, to_bytes

REFERENCE = Path(__file__).parent.parent / "reference"
EXPECTED = np.load(REFERENCE / "spectrograms_uint8.npz")


def test_filters_and_window_equal_librosas():
    np.testing.assert_array_equal(mel_filters(), librosa.filters.mel(sr=RATE, n_fft=2560, fmin=20, fmax=22_050))
    np.testing.assert_array_equal(
        WINDOW.astype(np.float32), librosa.filters.get_window("hann", 2560).astype(np.float32)
    )


def assert_equal_but_for_rounding(found, expected):
    assert found.shape == expected.shape and found.dtype == np.uint8
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.001


@pytest.mark.parametrize("name", EXPECTED.files)
def test_bytes_equal_the_original_recipe(name):
    sound = decode(REFERENCE / "audio" / f"{name}.wav")
    assert_equal_but_for_rounding(clip_spectrogram(sound.samples), EXPECTED[name].T)


def with_librosa(path):
    """The recipe in librosa's words, time-major."""
    samples, _ = librosa.load(path, sr=RATE)
    samples, _ = librosa.effects.trim(samples, top_db=60)
    missing = max(0, 2 * RATE - len(samples))
    samples = np.pad(samples, (missing // 2, missing - missing // 2))
    mel = librosa.feature.melspectrogram(
        y=samples, sr=RATE, n_fft=2560, hop_length=694, n_mels=128, fmin=20, fmax=22_050, pad_mode="reflect"
    )
    decibels = librosa.power_to_db(mel, top_db=80).T
    low, high = decibels.min(), decibels.max()
    scaled = 255 * (decibels - low) / (high - low) if high > low else 0 * decibels
    return scaled.astype(np.uint8)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 5 * RATE) | st.sampled_from([1, 2 * RATE - 1, 2 * RATE, 2 * RATE + 1, 30 * RATE]),
    rate=st.sampled_from([8_000, 44_100, 44_100, 44_100, 48_000]),
    channels=st.integers(1, 3),
    level=st.floats(-70, 0),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_sound_equals_librosas(tmp_path_factory, n, rate, channels, level, seed):
    rng = np.random.default_rng(seed)
    envelope = np.interp(np.arange(n), np.sort(rng.integers(0, n, 5)), 10 ** rng.uniform(-4, 0, 5))
    path = tmp_path_factory.mktemp("any") / "clip.wav"
    samples = 10 ** (level / 20) * envelope[:, None] * rng.uniform(-1, 1, (n, channels))
    soundfile.write(path, samples, rate)
    assert_equal_but_for_rounding(clip_spectrogram(decode(path).samples), with_librosa(path))


SECONDS = np.arange(3 * RATE) / RATE
OFFSETS = {
    "large": 0.5 + 0 * SECONDS,
    "small": 0.02 + 0 * SECONDS,
    "drifting": SECONDS / 3,
}


@pytest.mark.parametrize("offset", OFFSETS)
def test_quiet_noise_with_an_offset_equals_librosas(tmp_path, offset):
    noise = np.random.default_rng(1).normal(0, 1.2 / 2**15, len(SECONDS))  # of a 16-bit converter
    soundfile.write(tmp_path / "clip.wav", OFFSETS[offset] + noise, RATE)
    assert_equal_but_for_rounding(
        clip_spectrogram(decode(tmp_path / "clip.wav").samples), with_librosa(tmp_path / "clip.wav")
    )


@pytest.mark.parametrize("n", [1, 2, 1001, SHORTEST - 1, SHORTEST, SHORTEST + 1])
def test_short_clips_are_padded_on_both_sides(n):
    samples = np.arange(1, n + 1, dtype=np.float32)
    padded = pad(samples)
    left = max(0, (SHORTEST - n) // 2)
    assert len(padded) == max(n, SHORTEST) and padded.dtype == np.float32
    assert np.array_equal(padded[left : left + n], samples) and padded.sum() == samples.sum()


@pytest.mark.parametrize("n", [SHORTEST, 3 * RATE, 130_473])
def test_frames(n):
    assert log_mel(np.ones(n, np.float32)).shape == (1 + n // 694, 128)


def test_a_constant_spectrogram_is_zeros():
    assert not to_bytes(np.full((128, 128), -31.5, np.float32)).any()
    assert not clip_spectrogram(np.zeros(1000, np.float32)).any()


def test_bytes_span_the_range_and_are_truncated():
    decibels = np.array([[-80.0, -0.4, 0.0]], np.float32)
    assert to_bytes(decibels).tolist() == [[0, 253, 255]]  # 255 * 79.6 / 80 = 253.7
