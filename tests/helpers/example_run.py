"""The run and the sounds that the examples of the library use: three classes, and a linear model as the only member."""

import numpy as np
import pandas as pd
import soundfile

from audiotagging.artifacts.selection import write_selection
from audiotagging.artifacts.spectrogram_shards import ShardWriter
from audiotagging.members import LINEAR_MEMBER, rows
from audiotagging.sounds.spectrogram import clip_spectrogram
from audiotagging.training.prediction import predict
from audiotagging.training.train import train_row
from helpers.fabricated import finish_run

RATE = 44_100
CLASSES = ["Bark", "Meow", "Rain"]
FOLDS = (0, 1)


def sound(label, seed, *, seconds=3):
    """Return a sound of a class: a low tone, a high one, or noise. Float32, shape (samples,)."""
    rng, time = np.random.default_rng(seed), np.arange(seconds * RATE) / RATE
    pitch = {"Bark": 300, "Meow": 3000}.get(label, 0) * rng.uniform(0.8, 1.2)
    noise = rng.normal(0, 0.01 if pitch else 0.1, len(time))
    return (0.3 * np.sin(2 * np.pi * pitch * time) + noise).astype(np.float32)


def write_example(folder):
    """Write the folders OUT and sounds, and return the folder."""
    (folder / "sounds").mkdir()
    for label in CLASSES:
        soundfile.write(folder / "sounds" / f"{label.lower()}.wav", sound(label, 99), RATE)
    run = folder / "OUT"
    folds = {}
    with ShardWriter(run / "spectrograms", classes=CLASSES, metadata={"fingerprint": "abc"}) as writer:
        for part, count in {"curated": 18, "test": 6}.items():
            for number in range(count):
                label, fold = CLASSES[number % 3], number // 3 % 2 if part == "curated" else -1
                usage = "" if part == "curated" else ("Public", "Private")[number // 3]
                clip = {"clip": f"{part}-{number}.wav", "part": part, "labels": [label], "fold": fold, "usage": usage}
                spectrogram = clip_spectrogram(sound(label, number))
                writer.add(**clip, seconds=3.0, spectrogram=spectrogram)
                if part == "curated":
                    folds[clip["clip"]] = fold
    (run / "selection").mkdir()
    write_selection(run / "selection", folds=folds, noisy_clips=pd.DataFrame({"fname": []}))
    (run / "predictions").mkdir()
    inputs = {"spectrograms": run / "spectrograms", "selection": run / "selection"}
    options = {"init": {}, "seed": 1, "checkpoints": "", "champions": "", "warm_start": 0.0}
    for row in rows([LINEAR_MEMBER], FOLDS):
        model = run / "models" / f"{row['id']}-fold{row['fold']}"
        train_row(row, out=model, **inputs, **options)
        predict(model, out=run / "predictions" / f"{model.name}.parquet", **inputs)
    finish_run(run)
    return folder
