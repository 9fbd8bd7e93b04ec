"""Fabricated runs that are promoted."""

import numpy as np

from audiotagging.artifacts.predictions import Predictions, read_predictions, write_predictions
from audiotagging.champions.promotion import promote
from audiotagging.ensemble.ensembling import ensemble
from audiotagging.members import REFERENCE
from helpers.fabricated import PLAIN, fabricate_run, models_of, predictions_of, replace_weights


def make_run(folder, *, noise=0.0, seed=1, **options):
    """Fabricate a run whose models have weights, and average it; `noise` is added to the logits of every score."""
    fabricate_run(folder, members=REFERENCE[:2], clips=120, pictures=False, **options)
    rng = np.random.default_rng(seed)
    for path in predictions_of(folder):
        table = read_predictions(path)
        logits = np.log(table.scores / (1 - table.scores)) + rng.normal(0, noise, table.scores.shape)
        scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
        write_predictions(path, Predictions(table.classes, table.rows, scores))
    for model in models_of(folder):
        replace_weights(model, f"{model.name} {noise} {seed}".encode())
    ensemble(predictions_of(folder), spectrograms=folder / "spectrograms", out=folder / "averaged", **PLAIN)
    return folder


def promote_run(folder, champions, **options):
    return promote(folder / "averaged", **inputs_of(folder), champions=champions, **options)


def inputs_of(run):
    return {"models": models_of(run), "spectrograms": run / "spectrograms", "selection": run / "selection"}


def hot(clips, table):
    labels = table.set_index("clip")["labels"]
    return lambda classes: np.array([[name in labels[clip] for name in classes] for clip in clips])


def make_unequal_runs(folder):
    """Fabricate runs on the same clips that differ in how good they are."""
    return {name: make_run(folder / name, noise=noise) for name, noise in {"good": 0.0, "bad": 4.0}.items()}


def make_equal_runs(folder):
    """Fabricate runs of the same scores by other weights, of which each may take the place of each other."""
    return [make_run(folder / f"{seed}", seed=seed) for seed in range(4)]
