"""A demo data set made from formulas, in the layout of FSDKaggle2019: `python -m audiotagging.demo FOLDER`.

Its thirteen classes differ as real sounds do, by pitch, noise, rhythm and sweep. The pitch, speed, level and background
of every clip are random. Clips last 0.3 to 8 s, and some have two labels. A third of the labels of the noisy part are
wrong. The test part has labels, and a quarter of its clips are Public. The same seed gives the same bytes.
"""

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_folder

RATE = 44_100  # Hz
SECONDS = (0.3, 8.0)
TWO_LABELS = 0.15  # share of the curated and test clips
WRONG_LABELS = 0.33  # share of the noisy clips
PUBLIC = 0.25  # share of the test clips

Rng = np.random.Generator


def _log_uniform(rng: Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _band_noise(rng: Rng, n: int, low: float, high: float) -> np.ndarray:
    """Return n samples of noise between two frequencies in Hz."""
    size = 1 << (n - 1).bit_length()  # a power of two makes the transform fast
    spectrum = np.fft.rfft(rng.standard_normal(size, np.float32))
    frequencies = np.fft.rfftfreq(size, 1 / RATE)
    return np.fft.irfft(np.where((frequencies >= low) & (frequencies < high), spectrum, 0), size)[:n]


def _since_last(t: np.ndarray, period: float) -> np.ndarray:
    """Return the seconds since the last beat, with one beat per period."""
    return np.mod(t, period)


def _partials(phase: np.ndarray, count: int) -> np.ndarray:
    """Return the sum of the first partials of a tone with this phase in radians."""
    number = np.arange(1, count + 1)[:, None]
    return (np.sin(number * phase) / number**0.5).sum(axis=0)


def _bell(rng: Rng, t: np.ndarray) -> np.ndarray:
    pitch, since = _log_uniform(rng, 400, 1600), _since_last(t, rng.uniform(0.4, 1))
    partials = np.array([1, 2.76, 5.4, 8.93])[:, None]  # of a bar that is free at both ends
    tone = (np.sin(2 * np.pi * pitch * partials * since) * np.exp(-8 * partials**0.5 * since)).sum(axis=0)
    return tone + 0.3 * rng.standard_normal(len(t)) * np.exp(-60 * since)


def _buzz(rng: Rng, t: np.ndarray) -> np.ndarray:
    return np.sign(np.sin(2 * np.pi * rng.uniform(90, 220) * t)) * (1 + 0.2 * np.sin(2 * np.pi * 7 * t))


def _chirp(rng: Rng, t: np.ndarray, start: float, end: float) -> np.ndarray:
    period, factor = rng.uniform(0.25, 0.6), _log_uniform(rng, 0.7, 1.4)
    since = _since_last(t, period)
    rate = np.log(end / start) / period
    phase = 2 * np.pi * factor * start * np.expm1(rate * since) / rate
    return np.sin(phase) * np.sin(np.pi * since / period) ** 0.5


def _clicks(rng: Rng, t: np.ndarray) -> np.ndarray:
    strikes = (rng.random(len(t)) < rng.uniform(8, 25) / RATE) * rng.uniform(0.3, 1, len(t))
    strikes[len(t) // 2] = 1  # at least one click, so that no clip is silent
    return np.convolve(strikes, np.exp(-np.arange(200) / 20) * (-1.0) ** np.arange(200))[: len(t)]


def _knock(rng: Rng, t: np.ndarray) -> np.ndarray:
    since = _since_last(t, rng.uniform(0.15, 0.4))
    body = np.sin(2 * np.pi * rng.uniform(120, 300) * since) * np.exp(-25 * since)
    return body + 0.5 * rng.standard_normal(len(t)) * np.exp(-60 * since)


def _siren(rng: Rng, t: np.ndarray) -> np.ndarray:
    pitch, speed = _log_uniform(rng, 500, 1200), rng.uniform(0.5, 2)
    phase = 2 * np.pi * pitch * t + 0.35 * pitch / speed * np.sin(2 * np.pi * speed * t)
    return _partials(phase, 4)


def _organ(rng: Rng, t: np.ndarray) -> np.ndarray:
    return _partials(2 * np.pi * _log_uniform(rng, 250, 700) * t, 8)


def _tremolo(rng: Rng, t: np.ndarray) -> np.ndarray:
    beats = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(2.5, 6) * t)
    return _partials(2 * np.pi * _log_uniform(rng, 500, 2000) * t, 5) * beats**4


def _trill(rng: Rng, t: np.ndarray) -> np.ndarray:
    pitch, speed = _log_uniform(rng, 700, 2500), rng.uniform(4, 8)
    high = np.sin(2 * np.pi * speed * t) > 0
    return np.sin(2 * np.pi * pitch * np.cumsum(np.where(high, 2.0, 1.0)) / RATE)


def _whoosh(rng: Rng, t: np.ndarray) -> np.ndarray:
    centre = _log_uniform(rng, 800, 3000)
    return _band_noise(rng, len(t), centre / 1.6, centre * 1.6) * np.sin(np.pi * t / (t[-1] + 1 / RATE)) ** 2


CLASSES: dict[str, Callable[[Rng, np.ndarray], np.ndarray]] = {
    "Bell": _bell,
    "Buzz": _buzz,
    "Chirp_falling": lambda rng, t: _chirp(rng, t, 6000, 800),
    "Chirp_rising": lambda rng, t: _chirp(rng, t, 800, 6000),
    "Clicks": _clicks,
    "Hiss": lambda rng, t: _band_noise(rng, len(t), _log_uniform(rng, 4000, 7000), 20_000),
    "Knock": _knock,
    "Organ": _organ,
    "Rumble": lambda rng, t: _band_noise(rng, len(t), 30, _log_uniform(rng, 500, 1000)),
    "Siren": _siren,
    "Tremolo": _tremolo,
    "Trill_and_warble": _trill,
    "Whoosh": _whoosh,
}


def clip(rng: Rng, labels: list[str], seconds: float) -> np.ndarray:
    """Return a clip that contains the sounds of all labels over a faint background.

    Args:
        rng: Source of the random pitch, speed and levels.
        labels: Classes that the clip contains.
        seconds: Length of the clip.

    Returns:
        Samples in (-1, 1) at 44 100 Hz, float64, shape (samples,).
    """
    t = np.arange(int(seconds * RATE)) / RATE
    background = _band_noise(rng, len(t), 20, 20_000)
    total = background / (np.abs(background).max() + 1e-9) * _log_uniform(rng, 0.002, 0.02)
    for label in labels:
        sound = CLASSES[label](rng, t)
        total = total + sound / (np.abs(sound).max() + 1e-9) * rng.uniform(0.5, 1)
    return total / np.abs(total).max() * _log_uniform(rng, 0.05, 0.9)


def _write_part(folder: Path, rng: Rng, *, count: int, two_labels: float, wrong_labels: float) -> list[list[str]]:
    """Write the clips of a part, cycling through the classes, and return its rows of (fname, labels)."""
    folder.mkdir()
    names = list(CLASSES)
    rows = []
    for number in range(count):
        labels = [names[number % len(names)]]
        if rng.random() < two_labels:
            labels.append(str(rng.choice([name for name in names if name not in labels])))
        samples = clip(rng, labels, _log_uniform(rng, *SECONDS))
        if rng.random() < wrong_labels:
            labels = [str(rng.choice([name for name in names if name not in labels]))]
        fname = f"{rng.integers(16**8):08x}.wav"
        soundfile.write(folder / fname, samples, RATE, subtype="PCM_16")
        rows.append([fname, ",".join(sorted(labels))])
    return sorted(rows)


def _write_table(path: Path, header: list[str], rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write_dataset(folder: Path, *, seed: int = 2019, curated: int = 260, noisy: int = 130, test: int = 156) -> None:
    """Write the demo data set.

    Args:
        folder: The folder to write. It appears only when it is complete.
        seed: Seed of every random choice.
        curated: Number of curated clips.
        noisy: Number of noisy clips.
        test: Number of test clips.

    Raises:
        UserError: If the folder exists.
    """
    if folder.exists():
        raise UserError(f"{folder} exists already; name another folder, or remove this one")
    with atomic_folder(folder) as partial:
        rng = np.random.default_rng(seed)
        two = {"two_labels": TWO_LABELS, "wrong_labels": 0.0}
        curated_rows = _write_part(partial / "train_curated", rng, count=curated, **two)
        noisy_rows = _write_part(partial / "train_noisy", rng, count=noisy, two_labels=0.0, wrong_labels=WRONG_LABELS)
        test_rows = _write_part(partial / "test", rng, count=test, **two)
        usage = ["Public" if rng.random() < PUBLIC else "Private" for _ in test_rows]

        names = sorted(CLASSES)
        _write_table(partial / "train_curated.csv", ["fname", "labels"], curated_rows)
        _write_table(partial / "train_noisy.csv", ["fname", "labels"], noisy_rows)
        zeros = ["0"] * len(names)
        _write_table(partial / "sample_submission.csv", ["fname", *names], [[fname, *zeros] for fname, _ in test_rows])
        rows = [[*row, usage] for row, usage in zip(test_rows, usage, strict=True)]
        _write_table(partial / "test_post_competition.csv", ["fname", "labels", "usage"], rows)


def main() -> None:
    """Write the demo data set to the folder named on the command line."""
    parser = argparse.ArgumentParser(description="Write a demo data set made from formulas.")
    parser.add_argument("folder", type=Path, help="the folder to write; it must not exist yet")
    parser.add_argument("--seed", type=int, default=2019, help="seed of every random choice (default: %(default)s)")
    args = parser.parse_args()
    try:
        write_dataset(args.folder, seed=args.seed)
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
