"""The stage that selects: assigns the curated clips to folds, and chooses the noisy clips to train on.

It also fits a linear model to the same clips and folds, which takes seconds and says what the networks have to beat.
With the choice "agreement", the noisy clips to train on are those with whose labels a linear model agrees.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audiotagging.artifacts.predictions import Predictions, write_predictions
from audiotagging.artifacts.selection import (
    DEALT_FOLDS,
    LINEAR_PREDICTIONS,
    read_chosen_list,
    with_folds,
    write_selection,
)
from audiotagging.artifacts.spectrogram_shards import read_classes, read_clips, read_listing, read_spectrograms
from audiotagging.base.files import atomic_folder
from audiotagging.members import LINEAR
from audiotagging.statistics.metrics import label_table, margins
from audiotagging.statistics.stratification import stratify
from audiotagging.training.linear_model import STATISTICS, clip_statistics, fit_linear_model

CHUNK = 512  # clips whose spectrograms are in memory at once

logger = logging.getLogger(__name__)


def select(spectrograms: Path, *, noisy_choice: Mapping[str, Any], seed: int, out: Path) -> None:
    """Write the folder of a selection (`audiotagging.artifacts.selection`).

    Args:
        spectrograms: The folder of shards.
        noisy_choice: The choice of noisy clips to train on (`audiotagging.artifacts.selection`).
        seed: Seed of the folds.
        out: The folder to create.

    Raises:
        UserError: If the shards or the list cannot be used.
    """
    clips = read_clips(spectrograms)
    folds = deal_folds(clips[clips["part"] == "curated"], seed=seed)
    noisy = (clips["part"] == "noisy") & (noisy_choice["noisy"] != "none")
    if noisy_choice["noisy"] == "list":
        noisy &= clips["clip"].isin(read_chosen_list(noisy_choice, read_listing(spectrograms, part="noisy")))
    clips = with_folds(clips[noisy | clips["part"].isin(["curated", "test"])], folds)
    classes, statistics = read_classes(spectrograms), read_statistics(spectrograms, clips)
    chosen = clips[["clip"]][clips["part"] == "noisy"]
    if noisy_choice["noisy"] == "agreement":
        chosen = choose_agreeing(clips, statistics, classes)
    used = (clips["part"] != "noisy") | clips["clip"].isin(chosen["clip"])
    linear = predict_by_linear_model(clips[used], statistics[used.to_numpy()], classes)
    with atomic_folder(out) as part:
        write_selection(part, folds=folds, noisy_clips=chosen.rename(columns={"clip": "fname"}))
        write_predictions(part / LINEAR_PREDICTIONS, linear)


def deal_folds(curated: pd.DataFrame, *, seed: int) -> dict[str, int]:
    """Return the fold of every curated clip: the one in the data's own table or, if there is none, a stratified one.

    Args:
        curated: The curated clips of the shards: `clip`, `labels` and `fold`.
        seed: Seed of the stratification.
    """
    names, folds = list(curated["clip"]), curated["fold"]
    if (folds < 0).any():
        folds = stratify(names, list(curated["labels"]), shares=[1] * DEALT_FOLDS, seed=seed)
    return dict(zip(names, map(int, folds), strict=True))


def choose_agreeing(clips: pd.DataFrame, statistics: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """Choose the noisy clips whose labels a linear model of the curated clips ranks above all other classes.

    Args:
        clips: The curated and the noisy clips, and perhaps others.
        statistics: Their statistics, shape (clips, statistics).
        classes: The classes.

    Returns:
        One row per chosen clip, in the order of the noisy table: `clip` and `margin`.
    """
    truth = label_table(clips["labels"].tolist(), classes)
    curated, noisy = ((clips["part"] == part).to_numpy() for part in ("curated", "noisy"))
    if not noisy.any():
        return clips[["clip"]][noisy].assign(margin=0.0)
    margin = margins(truth[noisy], fit_linear_model(statistics[curated], truth[curated]).score(statistics[noisy]))
    chosen = clips[["clip"]][noisy].assign(margin=margin)[margin > 0]
    found = len(chosen), noisy.sum()
    logger.info("agreement: a linear model agrees with the labels of %d of %d noisy clips", *found)
    return chosen


def predict_by_linear_model(clips: pd.DataFrame, statistics: np.ndarray, classes: list[str]) -> Predictions:
    """Fit a linear model to all training clips, and without every fold in turn, and return its predictions.

    Args:
        clips: The curated clips with their folds, the noisy clips to train on, and the test clips.
        statistics: Their statistics, shape (clips, statistics).
        classes: The classes.

    Returns:
        One row per test clip, and one per curated clip, by the model that was fitted without its fold.
    """
    truth = label_table(clips["labels"].tolist(), classes)
    part, fold = clips["part"].to_numpy(), clips["fold"].to_numpy()
    rows, scores = [clips[["clip"]].iloc[:0].assign(part="")], [np.empty((0, len(classes)), np.float32)]
    for held_out in (-1, *sorted(set(fold[part == "curated"]))):
        scored = (part == "test") if held_out < 0 else (part == "curated") & (fold == held_out)
        fitted = (part != "test") & ~scored
        if scored.any() and truth[fitted].any():
            scores.append(fit_linear_model(statistics[fitted], truth[fitted]).score(statistics[scored]))
            rows.append(clips.loc[scored, ["clip"]].assign(part="test" if held_out < 0 else "validation"))
    table = pd.concat(rows, ignore_index=True).assign(member=LINEAR, fold=-1)
    return Predictions(classes, table, np.concatenate(scores), [LINEAR])


def read_statistics(spectrograms: Path, clips: pd.DataFrame) -> np.ndarray:
    """Return the statistics of some clips of a folder of shards, shape (clips, statistics).

    Args:
        spectrograms: The folder of shards.
        clips: Rows of its table of clips, in its order.
    """
    found = [np.empty((0, STATISTICS), np.float32)]
    for part, names in clips.groupby("part", sort=False)["clip"]:
        for start in range(0, len(names), CHUNK):
            data = read_spectrograms(spectrograms, parts=[str(part)], clips=list(names[start : start + CHUNK]))
            found.append(clip_statistics(data.frames, data.offsets))
    return np.concatenate(found)
