"""Sounds in which nothing should be tagged: silence, noise, hum, clicks, and the quiet ends of curated clips.

A spectrogram is scaled to its own range, so the networks see faint noise as clearly as a loud sound. The spectrograms
of these sounds are a part of their own. They are scored as test clips are, but no member is trained on them.
"""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from audiotagging.sounds.audio import RATE, SoundError, decode
from audiotagging.sounds.spectrogram import SHORTEST

SEED = 534
SAMPLES = 5 * RATE
STEP = 2.0**-15  # between the values of 16-bit samples
LEVELS = (-20.0, -50.0)  # dB, the root mean square of noise and the peak of clicks, relative to full scale
PINK_FROM = 20.0  # Hz; pink noise would have infinite power at 0 Hz

QUIET_ENDS = 8
TRIED = 40  # curated clips in which to look for quiet ends
QUIET_DECIBELS = 20.0  # of a quiet end below the loudest two seconds of its clip
BLOCK = RATE // 2  # samples; quiet ends consist of whole blocks

# Names of classes that are right for these sounds: for all of them, and for some kinds.
NOTHING = ("silence", "noise", "background", "background noise")
NAMES = {
    "dither": ("white noise", "static", "hiss"),
    "white-noise": ("white noise", "static", "hiss"),
    "pink-noise": ("pink noise", "static", "hiss"),
    "hum": ("hum", "mains hum", "buzz"),
    "clicks": ("click", "clicks", "clicking"),
}

Rng = np.random.Generator


@dataclass(frozen=True)
class Disturbance:
    """A sound in which nothing but its labels should be tagged.

    Attributes:
        name: Its kind and its number, such as "white-noise-2".
        labels: The classes that are right: those that are named like it, and the labels of the clip of a quiet end.
        samples: float32, shape (samples,).
    """

    name: str
    labels: list[str]
    samples: np.ndarray


def make_disturbances(classes: Collection[str], curated: pd.DataFrame) -> Iterator[Disturbance]:
    """Make the disturbances of a data set. The same data give the same samples.

    Every variant of a kind is drawn twice, once in the first half of the numbers and once in the second half.

    Args:
        classes: All classes.
        curated: The curated clips: `path`, `start`, `end` and `labels`.
    """
    for place, (kind, variants) in enumerate(KINDS.items()):
        for number, make in enumerate(2 * variants, 1):
            samples = make(np.random.default_rng([SEED, place, number]))
            yield Disturbance(f"{kind}-{number}", _named_like(kind, classes), _to_16_bits(samples))
    for number, (samples, labels) in enumerate(_quiet_ends(curated), 1):
        right = {*labels, *_named_like("quiet-end", classes)}
        yield Disturbance(f"quiet-end-{number}", [label for label in classes if label in right], samples)


def _named_like(kind: str, classes: Collection[str]) -> list[str]:
    """Return the classes that are right for a kind. Only letters count in a name, and no capitals."""
    names = NOTHING + NAMES.get(kind, ())
    return [label for label in classes if " ".join(re.findall("[a-z]+", label.lower())) in names]


def _to_16_bits(samples: np.ndarray) -> np.ndarray:
    return (np.clip(np.round(samples / STEP), -(2**15), 2**15 - 1) * STEP).astype(np.float32)


def _silence(_: Rng) -> np.ndarray:
    return np.zeros(SAMPLES)


def _dither(rng: Rng) -> np.ndarray:
    """Return samples of -1, 0 or 1 step."""
    return rng.integers(-1, 2, SAMPLES) * STEP


def _white_noise(rng: Rng, decibels: float) -> np.ndarray:
    return 10 ** (decibels / 20) * rng.standard_normal(SAMPLES)


def _pink_noise(rng: Rng, decibels: float) -> np.ndarray:
    """Return noise whose power falls by 3 dB per octave."""
    spectrum = np.fft.rfft(rng.standard_normal(SAMPLES)) / np.sqrt(
        np.maximum(np.fft.rfftfreq(SAMPLES, 1 / RATE), PINK_FROM)
    )
    samples = np.fft.irfft(spectrum, SAMPLES)
    return 10 ** (decibels / 20) * samples / samples.std()


def _hum(rng: Rng, hertz: float, step: int) -> np.ndarray:
    """Return the hum of mains: ten harmonics, all of them or the odd ones, over faint noise."""
    harmonics = np.arange(1, 10 * step + 1, step)[:, np.newaxis]
    loudness, phases = rng.uniform(0.2, 1, harmonics.shape), rng.uniform(0, 2 * np.pi, harmonics.shape)
    waves = np.sin(2 * np.pi * hertz * harmonics * np.arange(SAMPLES) / RATE + phases)
    return 0.05 * (loudness / harmonics * waves).sum(axis=0) + _white_noise(rng, rng.uniform(-80, -60))


def _clicks(rng: Rng, decibels: float) -> np.ndarray:
    """Return about two clicks of a millisecond per second, over dither."""
    strikes = np.zeros(SAMPLES)
    strikes[rng.integers(SAMPLES, size=2 * SAMPLES // RATE)] = 10 ** (decibels / 20)
    shape = np.exp(-np.arange(44) / 10) * (-1.0) ** np.arange(44)
    return np.convolve(strikes, shape)[:SAMPLES] + _dither(rng)


# The variants of every kind.
KINDS: dict[str, list[Callable[[Rng], np.ndarray]]] = {
    "silence": [_silence],
    "dither": [_dither],
    "white-noise": [lambda rng: _white_noise(rng, LEVELS[0]), lambda rng: _white_noise(rng, LEVELS[1])],
    "pink-noise": [lambda rng: _pink_noise(rng, LEVELS[0]), lambda rng: _pink_noise(rng, LEVELS[1])],
    "hum": [lambda rng: _hum(rng, 50, 2), lambda rng: _hum(rng, 60, 1)],
    "clicks": [lambda rng: _clicks(rng, LEVELS[0]), lambda rng: _clicks(rng, LEVELS[1])],
}


def _quiet_ends(curated: pd.DataFrame) -> Iterator[tuple[np.ndarray, list[str]]]:
    """Yield the quiet ends of some curated clips without common labels, and the labels of these clips."""
    found, seen = 0, set[str]()
    for place in np.random.default_rng(SEED).permutation(len(curated))[:TRIED]:
        clip = curated.iloc[place]
        if not seen.isdisjoint(clip["labels"]):
            continue
        try:
            samples = _quietest(decode(Path(clip["path"]), start=clip["start"], end=clip["end"]).samples)
        except SoundError:
            continue
        if samples is not None:
            yield samples, clip["labels"]
            seen.update(clip["labels"])
            found += 1
        if found == QUIET_ENDS:
            return


def _quietest(samples: np.ndarray) -> np.ndarray | None:
    """Return the quietest two seconds of a clip that are not digital silence, or None if none are quiet.

    Args:
        samples: float32, shape (samples,).
    """
    blocks = len(samples) // BLOCK
    width = SHORTEST // BLOCK
    if blocks < width:
        return None
    pieces = samples[: blocks * BLOCK].reshape(blocks, BLOCK)
    energies = np.lib.stride_tricks.sliding_window_view(np.vecdot(pieces, pieces), width).sum(axis=1)
    heard = np.flatnonzero(energies)
    if not len(heard):
        return None
    quietest = heard[np.argmin(energies[heard])]
    if energies[quietest] > energies.max() * 10 ** (-QUIET_DECIBELS / 10):
        return None
    return samples[quietest * BLOCK :][:SHORTEST]
