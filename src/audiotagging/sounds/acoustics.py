"""Measures what a sound is like, whatever is in it: its level, the band that it fills, and hum.

A change of microphone, gain, codec or wiring shows up here. Two frequencies enclose the band, as the spectral roll-off
does: a telephone moves them to about 300 and 3400 Hz, MP3 at a low rate moves the upper one to 16 kHz or below. Sound
without anything at high frequencies, such as a heartbeat, has a low upper one too, so it takes many files to tell a
change of the recordings from a single file.
"""

import numpy as np
import scipy.fft

from audiotagging.artifacts.acoustics import Acoustics
from audiotagging.sounds.audio import RATE

BLOCK = RATE // 10  # samples
SECOND = RATE // BLOCK  # blocks
POWER_FLOOR = 1e-12  # of the level, -120 dB

FFT = 8192  # samples; bins of 5.4 Hz tell the harmonics of 50 Hz from those of 60 Hz
FRAMES_AT_ONCE = 64  # 2 MB
WINDOW = (0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, FFT + 1)[:-1])).astype(np.float32)  # Hann window
BELOW_SOUND = 2  # bins, up to 11 Hz, which hold the mean of the samples
DENSITY_FLOOR = np.float32(1e-14)  # far below the noise of rounding to 16 bits, 8e-11
BELOW, ABOVE = 1e-2, 1e-3  # of the energy. Most sounds have little at high frequencies, so less is cut off there

MAINS = np.array([[50.0], [60.0]])  # Hz
HARMONICS = np.arange(1, 11)
PEAK = np.arange(-1, 2)  # bins at a harmonic
AROUND = np.array([-6, -5, -4, -3, 3, 4, 5, 6])  # bins between harmonics, which are 9 bins apart
MOST = 20.0  # decibels that one harmonic counts, so that a single tone is no hum


class AcousticMeter:
    """Measures a sound that is given in pieces, at memory that does not grow with its length."""

    def __init__(self) -> None:
        """Start with no sound."""
        self._loudest = 0.0  # power
        self._power = np.zeros(FFT // 2 + 1)
        self._decibels = np.zeros(FFT // 2 + 1)  # sums over frames, like the power
        self._frames = 0

    def add(self, samples: np.ndarray) -> None:
        """Add a piece of the sound.

        Args:
            samples: At least one, at 44 100 Hz, float32, shape (samples,).
        """
        self._loudest = max(self._loudest, _loudest_second(samples))
        enough = samples if len(samples) >= FFT else np.pad(samples, (0, FFT - len(samples)))
        frames = np.lib.stride_tricks.sliding_window_view(enough, FFT)[::FFT]  # a view
        for start in range(0, len(frames), FRAMES_AT_ONCE):
            spectrum = scipy.fft.rfft(frames[start : start + FRAMES_AT_ONCE] * WINDOW)
            density = (spectrum.real**2 + spectrum.imag**2) / np.vecdot(WINDOW, WINDOW)
            density = density[density.any(axis=1)]  # digital silence says nothing about hum
            self._power += density.sum(axis=0)
            self._decibels += 10 * np.log10(density + DENSITY_FLOOR).sum(axis=0)
            self._frames += len(density)

    def measure(self) -> Acoustics:
        """Return what was measured so far. Digital silence has no band and no hum."""
        level = 10 * np.log10(self._loudest + POWER_FLOOR)
        if not self._frames:
            return Acoustics(float(level), 0.0, 0.0, 0.0)
        energy = np.cumsum(np.where(np.arange(len(self._power)) < BELOW_SOUND, 0, self._power))
        low, high = np.searchsorted(energy, [BELOW * energy[-1], (1 - ABOVE) * energy[-1]]) * RATE / FFT
        return Acoustics(float(level), float(low), float(high), _hum(self._decibels / self._frames))


def measure(samples: np.ndarray) -> Acoustics:
    """Measure a sound.

    Args:
        samples: At least one, at 44 100 Hz, float32, shape (samples,). Silence at both ends lowers the level of short
            sounds, so it should be trimmed.

    Examples:
        A tone of 1 kHz at half of full scale:

        >>> tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(3 * RATE) / RATE, dtype=np.float32)
        >>> found = measure(tone)
        >>> round(found.level, 2), round(found.low, -1), round(found.high, -1)
        (-9.03, 1000.0, 1010.0)
    """
    meter = AcousticMeter()
    meter.add(samples)
    return meter.measure()


def _loudest_second(samples: np.ndarray) -> float:
    """Return the mean power of the loudest second, in steps of a tenth, or of all samples if they are fewer."""
    whole = len(samples) // BLOCK
    if whole < SECOND:
        return float(np.vecdot(samples, samples)) / len(samples)
    blocks = samples[: whole * BLOCK].reshape(whole, BLOCK)
    energies = np.vecdot(blocks, blocks).astype(np.float64)
    return float(np.convolve(energies, np.ones(SECOND), mode="valid").max()) / RATE


def _hum(decibels: np.ndarray) -> float:
    """Return by how many decibels the harmonics of the mains stand out, on average.

    Hum is steady, so it stands out in the mean of the spectra in decibels, in which a passing sound counts for little.
    A steady tone or a voice has at most a few harmonics where the mains have theirs.

    Args:
        decibels: The mean over the frames, shape (bins,).
    """
    bins = np.rint(MAINS * HARMONICS * FFT / RATE).astype(int)[..., np.newaxis]  # (2, harmonics, 1)
    above = decibels[bins + PEAK].max(axis=-1) - np.median(decibels[bins + AROUND], axis=-1)
    return float(above.clip(max=MOST).mean(axis=1).max())
