"""Measures what the comparison of new sounds with test clips says of sounds that were changed on purpose.

    python -m benchmarks.drift OUT TEST_SOUNDS

OUT is the output of a run whose test clips have labels and lie in the folder TEST_SOUNDS. They are divided at random
into test clips and a batch, again and again, and the batch is changed: at half the level, with hum, through a
telephone. This prints the table of docs/tagging.md: the lwlrap of all clips, and how often each verdict was given.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import butter, resample_poly, sosfilt

from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.base.progress import track
from audiotagging.sounds.audio import RATE, decode
from audiotagging.statistics.metrics import label_table, lwlrap
from audiotagging.tagging.drift import Sounds, collect, compare
from audiotagging.tagging.loading import load_tagger
from audiotagging.tagging.tagger import Tagger

VERDICTS = ("fine", "look", "retrain")
TELEPHONE = 8000  # Hz, the rate at which telephones sample
PARTIALS = np.arange(1, 11)[:, None]  # of hum


def hum(samples: np.ndarray, decibels: float, *, mains: int) -> np.ndarray:
    """Add the first ten harmonics of 50 or 60 Hz, whose level is that of the sound plus some decibels."""
    time = np.arange(len(samples)) / RATE
    added = (np.sin(2 * np.pi * mains * PARTIALS * time + PARTIALS) / PARTIALS).sum(axis=0)
    level = np.sqrt(np.mean(samples**2) / np.mean(added**2)) * 10 ** (decibels / 20)
    return samples + level * added


def telephone(samples: np.ndarray) -> np.ndarray:
    """Keep what a telephone transmits: 300 to 3400 Hz, at 8 kHz."""
    band = butter(4, [300, 3400], "bandpass", fs=TELEPHONE, output="sos")
    return resample_poly(sosfilt(band, resample_poly(samples, TELEPHONE // 100, RATE // 100)), RATE // 100, 80)


# What is done to a clip, by its number, because mains have 50 or 60 Hz.
CHANGES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "as recorded": lambda samples, number: samples,
    "at half the level, -6 dB": lambda samples, number: samples / 2,
    "hum 20 dB below the sound": lambda samples, number: hum(samples, -20, mains=(50, 60)[number % 2]),
    "hum as loud as the sound": lambda samples, number: hum(samples, 0, mains=(50, 60)[number % 2]),
    "through a telephone": lambda samples, number: telephone(samples),
}


def tag(tagger: Tagger, paths: list[Path], change: Callable[[np.ndarray, int], np.ndarray]) -> Sounds:
    """Change the sounds, and tag them from files of 16 bits."""
    with tempfile.TemporaryDirectory() as folder:
        changed = [Path(folder) / f"{number}.wav" for number in range(len(paths))]
        for number, (path, target) in enumerate(zip(paths, changed, strict=True)):
            soundfile.write(target, np.clip(change(decode(path).samples, number), -1, 1), RATE, subtype="PCM_16")
        return collect(track(tagger.tag(changed), label="tag", total=len(changed)))


def take(sounds: Sounds, places: np.ndarray) -> Sounds:
    """Return some of the sounds."""
    assert sounds.acoustics is not None
    return Sounds(
        [sounds.names[place] for place in places],
        sounds.scores[places],
        sounds.member_scores[:, places],
        sounds.acoustics.iloc[places].reset_index(drop=True),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift", description=__doc__)
    parser.add_argument("run", type=Path, metavar="OUT", help="output of a run with labelled test clips")
    parser.add_argument("sounds", type=Path, metavar="TEST_SOUNDS", help="the folder of the test clips")
    parser.add_argument("--files", type=int, nargs="+", default=[20], help="files in a batch (default: 20 and half)")
    parser.add_argument("--draws", type=int, default=200, help="batches of each kind (default: 200)")
    parser.add_argument("--seed", type=int, default=534, help="seed of the draws (default: 534)")
    args = parser.parse_args()

    tagger = load_tagger(args.run)
    clips = read_clips(args.run / "spectrograms").query("part == 'test'")
    truth = label_table(clips["labels"].tolist(), tagger.classes)
    paths = [args.sounds / name for name in clips["clip"]]
    half = len(paths) // 2
    recorded = tag(tagger, paths, CHANGES["as recorded"])
    print(f"| batch | lwlrap of all {len(paths)} | files | {' / '.join(VERDICTS)} |\n|---|---|---|---|")
    for name, change in CHANGES.items():
        changed = recorded if name == "as recorded" else tag(tagger, paths, change)
        score = lwlrap(truth, changed.scores)
        for files in [*args.files, half]:
            rng = np.random.default_rng(args.seed)
            verdicts: Counter[str] = Counter()
            for _ in range(args.draws):
                order = rng.permutation(len(paths))
                test, batch = take(recorded, order[:half]), take(changed, order[half : half + files])
                verdicts[compare(batch, test, classes=tagger.classes).verdict] += 1
            shares = " / ".join(f"{verdicts[verdict] / args.draws:.1%}" for verdict in VERDICTS)
            print(f"| {name} | {score:.3f} | {files} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
