"""Spectrograms of clips of 5 s, compared with librosa, one worker, `numpy.load`, memcpy and PNG."""

import io
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import librosa
import numpy as np
import soundfile
from PIL import Image

from audiotagging.artifacts.spectrogram_shards import ShardWriter, Spectrograms, read_spectrograms
from audiotagging.data.dataset import Dataset, read_dataset
from audiotagging.data.preprocessing import preprocess
from audiotagging.demo import CLASSES, clip
from audiotagging.sounds.audio import RATE, decode
from audiotagging.sounds.spectrogram import clip_spectrogram
from benchmarks.frame import Row, race

CLIPS = 300
REPEATS = 10  # of the clips in the folder that is read, which then has 120 MB


@cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="benchmarks")


@cache
def _dataset() -> Dataset:
    """Return 300 clips with sounds of the demo data set."""
    folder = Path(_temporary().name)
    rng = np.random.default_rng(2019)
    for number in range(CLIPS):
        name = list(CLASSES)[number % len(CLASSES)]
        path = folder / "sounds" / name / f"{number:04d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, clip(rng, [name], 5.0), RATE, subtype="PCM_16")
    return read_dataset(folder / "sounds")


@cache
def _spectrograms() -> tuple[Path, Spectrograms]:
    """Return a folder of 3000 spectrograms, and its content."""
    once, often = (Path(_temporary().name) / name for name in ("once", "often"))
    preprocess(_dataset(), once, fingerprint="", max_rejected=0)
    read = read_spectrograms(once)
    with ShardWriter(often, classes=read.classes) as writer:
        for repeat in range(REPEATS):
            for number, name in enumerate(read.clips["clip"]):
                spectrogram = read[number]
                writer.add(
                    clip=f"{repeat}{name}",
                    part="curated",
                    labels=[],
                    fold=0,
                    usage="",
                    seconds=2.0,
                    spectrogram=spectrogram,
                )
    return often, read_spectrograms(often)


def _with_librosa(path: Path) -> np.ndarray:
    samples, _ = librosa.load(path, sr=RATE)
    samples, _ = librosa.effects.trim(samples, top_db=60)
    mel = librosa.feature.melspectrogram(
        y=samples, sr=RATE, n_fft=2560, hop_length=694, n_mels=128, fmin=20, fmax=22_050, pad_mode="reflect"
    )
    return librosa.power_to_db(mel)


def one_core() -> Row:
    """Compare the clips per second of one core, from file to bytes, with those of librosa, from file to decibels."""
    paths = [Path(path) for path in _dataset().clips["path"][:40]]
    ours, other = race(
        lambda: [clip_spectrogram(decode(path).samples) for path in paths],
        lambda: [_with_librosa(path) for path in paths],
    )
    return Row(len(paths) / ours, len(paths) / other, "clips/s", "librosa, both on one core")


def two_workers() -> Row:
    """Compare the clips per second of two workers with those of one worker, with shards written."""

    def run(workers: int) -> None:
        with tempfile.TemporaryDirectory(dir=_temporary().name) as folder:
            preprocess(_dataset(), Path(folder) / "out", fingerprint="", max_rejected=0, workers=workers)

    ours, other = race(lambda: run(2), lambda: run(1), rounds=5)
    return Row(CLIPS / ours, CLIPS / other, "clips/s", "one worker, shards written")


def read_numpy() -> Row:
    """Compare the speed of reading a part with that of `numpy.load`."""
    folder, read = _spectrograms()
    path = Path(_temporary().name) / "frames.npy"
    np.save(path, read.frames)
    ours, other = race(lambda: read_spectrograms(folder, parts=["curated"]), lambda: np.load(path))
    return Row(read.frames.nbytes / ours / 1e9, read.frames.nbytes / other / 1e9, "GB/s", "numpy.load, files in memory")


def read_memcpy() -> Row:
    """Compare the speed of reading a part with that of copying it in memory."""
    folder, read = _spectrograms()
    ours, other = race(lambda: read_spectrograms(folder, parts=["curated"]), lambda: read.frames.copy())
    return Row(read.frames.nbytes / ours / 1e9, read.frames.nbytes / other / 1e9, "GB/s", "memcpy")


def size() -> Row:
    """Compare the bytes per clip in the shards with those of a PNG."""
    folder, read = _spectrograms()
    png = 0
    for start, end in zip(read.offsets[:CLIPS], read.offsets[1 : CLIPS + 1], strict=True):
        with io.BytesIO() as file:
            Image.fromarray(read.frames[start:end].T).save(file, "png")
            png += file.tell()
    ours = sum(path.stat().st_size for path in folder.glob("*.parquet"))
    return Row(ours / len(read.clips), png / CLIPS, "bytes/clip", "PNG")


ROWS: dict[str, Callable[[], Row]] = {
    "one_core": one_core,
    "two_workers": two_workers,
    "read_numpy": read_numpy,
    "read_memcpy": read_memcpy,
    "size": size,
}
