"""Samples to a byte log-mel spectrogram, as the published recipe has it, to the last constant.

The steps are librosa's `melspectrogram` and `power_to_db`; the filters come from librosa too. Done here because whole
blocks of frames in single precision, with the mel filters multiplied only where they are not zero, take a fifth of
librosa's time and give the same bytes.
"""

import librosa
import numpy as np
import scipy.fft

from audiotagging.audio import RATE, trim
from audiotagging.shards import MELS

FFT = 2560  # samples
HOP = 694  # samples: 63.5 frames a second
LOWEST, HIGHEST = 20.0, 22_050.0  # Hz
POWER_FLOOR = 1e-10
RANGE_DECIBELS = 80.0
SHORTEST = 2 * RATE  # samples; shorter clips are padded, so that no spectrogram has fewer than 128 frames

SETTINGS = {
    "rate": RATE,
    "n_fft": FFT,
    "hop_length": HOP,
    "n_mels": MELS,
    "fmin": LOWEST,
    "fmax": HIGHEST,
    "amin": POWER_FLOOR,
    "top_db": RANGE_DECIBELS,
    "pad_mode": "reflect",
}

BLOCK_FRAMES = 32  # transformed at once: what is worked on stays in the cache, and memory does not grow with the clip
MEL_GROUP = 16  # filters multiplied at once


def _group_filters() -> list[tuple[slice, slice, np.ndarray]]:
    """Return librosa's mel filters: for each group of neighbours its mels, the bins it covers, weights (bins, mels)."""
    filters = librosa.filters.mel(sr=RATE, n_fft=FFT, n_mels=MELS, fmin=LOWEST, fmax=HIGHEST)  # (mels, bins)
    groups = []
    for start in range(0, MELS, MEL_GROUP):
        mels = slice(start, start + MEL_GROUP)
        covered = np.flatnonzero(filters[mels].any(axis=0))
        bins = slice(covered[0], covered[-1] + 1)
        groups.append((mels, bins, np.ascontiguousarray(filters[mels, bins].T)))
    return groups


WINDOW = librosa.filters.get_window("hann", FFT).astype(np.float32)
MEL_GROUPS = _group_filters()


def clip_spectrogram(samples: np.ndarray) -> np.ndarray:
    """Return the spectrogram of one clip: trimmed, padded to two seconds at least, scaled to bytes by its own range.

    Args:
        samples: Mono at 44 100 Hz, float32, shape (samples,).

    Returns:
        uint8, time-major, shape (1 + samples // 694, 128) of the trimmed and padded samples.
    """
    return to_bytes(log_mel(pad(trim(samples))))


def pad(samples: np.ndarray) -> np.ndarray:
    """Return the samples with zeros on both sides, so that they last two seconds at least."""
    missing = max(0, SHORTEST - len(samples))
    return np.pad(samples, (missing // 2, missing - missing // 2)) if missing else samples


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Return the log-mel spectrogram in decibels, at most 80 dB below its loudest value.

    Args:
        samples: Mono at 44 100 Hz, float32, shape (samples,); more than 1280 of them.

    Returns:
        float32, time-major, shape (1 + samples // 694, 128).
    """
    padded = np.pad(samples, FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP]  # (T, FFT), a view
    mel = np.empty((len(frames), MELS), np.float32)
    windowed = np.empty((BLOCK_FRAMES, FFT), np.float32)
    power = np.empty((BLOCK_FRAMES, FFT // 2 + 1), np.float32)
    for start in range(0, len(frames), BLOCK_FRAMES):
        block = frames[start : start + BLOCK_FRAMES]
        n = len(block)
        np.multiply(block, WINDOW, out=windowed[:n])
        np.abs(scipy.fft.rfft(windowed[:n], overwrite_x=True), out=power[:n])
        np.square(power[:n], out=power[:n])
        for mels, bins, weights in MEL_GROUPS:
            np.matmul(power[:n, bins], weights, out=mel[start : start + n, mels])
    np.log10(np.maximum(mel, POWER_FLOOR, out=mel), out=mel)
    mel *= 10
    return np.maximum(mel, mel.max() - np.float32(RANGE_DECIBELS), out=mel)


def to_bytes(decibels: np.ndarray) -> np.ndarray:
    """Scale a spectrogram from its least value to its greatest to 0..255, truncated; one without a range to zeros."""
    low, high = decibels.min(), decibels.max()
    if high - low <= 1e-6:
        return np.zeros(decibels.shape, np.uint8)
    return (255 * (decibels - low) / (high - low)).astype(np.uint8)
