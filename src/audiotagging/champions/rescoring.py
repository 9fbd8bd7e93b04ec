"""Lets the best champion predict the labelled clips that are newer than it, so that a candidate meets it on those too.

The comparison is only fair on clips that neither of the two was trained on. The candidate's own predictions are such:
those of test clips, and those of curated clips by models that held them out. Of these clips, the champion predicts what
it has not predicted yet and was not trained on, in the same way: test clips by all its models, and each curated clip by
one model of every member, because the average of several folds would be a stronger opponent.
"""

import logging
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from audiotagging.artifacts.champions_folder import best_folder
from audiotagging.artifacts.ensemble_folder import PREDICTIONS
from audiotagging.artifacts.model_folder import model_folders, read_metadata
from audiotagging.artifacts.predictions import Predictions, read_predictions, write_predictions
from audiotagging.artifacts.spectrogram_shards import read_classes, read_clips, read_spectrograms
from audiotagging.artifacts.stored_version import read_version_clips, read_version_predictions
from audiotagging.training.prediction import load_model, score_clips

PARTS = {"test": "test", "validation": "curated"}  # of predictions, and of spectrograms

logger = logging.getLogger(__name__)


def rescore(ensemble: Path, *, spectrograms: Path, champions: Path | None, out: Path, precision: str = "auto") -> str:
    """Predict the labelled clips that are newer than the best champion.

    There are none if nothing has been promoted yet, if its classes are others, or if an earlier version of the program
    stored it without the clips that it was trained on.

    Args:
        ensemble: The folder of the candidate, which has predicted the clips.
        spectrograms: The folder of shards.
        champions: The champions folder, or None.
        out: The prediction table to write: one row per clip and member, averaged over the folds.
        precision: "auto" or "float32", as in `devices.autocast`.

    Returns:
        The version of the best champion, or an empty string without one.

    Raises:
        UserError: If an input is missing or corrupt.
    """
    classes = read_classes(spectrograms)
    folder = best_folder(champions) if champions else None
    new = pd.DataFrame() if folder is None else newer_clips(folder, ensemble=ensemble, spectrograms=spectrograms)
    rows = pd.DataFrame({"clip": [], "part": [], "member": [], "fold": []})
    table = Predictions(classes, rows, np.empty((0, len(classes)), np.float32))
    if folder is not None and len(new):
        logger.info("version %s predicts %d clips that are newer than it", folder.name, len(new))
        table = _predict(folder, new, spectrograms=spectrograms, precision=precision)
    write_predictions(out, table)
    return folder.name if folder is not None else ""


def newer_clips(folder: Path, *, ensemble: Path, spectrograms: Path) -> pd.DataFrame:
    """Return the labelled clips that a candidate predicted and that a version has neither predicted nor learned from.

    Args:
        folder: The folder of the version.
        ensemble: The folder of the candidate.
        spectrograms: The folder of shards of the candidate.

    Returns:
        One row per clip: `clip` and `part` ("test" or "validation").
    """
    known, predicted = read_version_clips(folder), read_version_predictions(folder)
    candidate, clips = read_predictions(ensemble / PREDICTIONS), read_clips(spectrograms)
    nothing = pd.DataFrame({"clip": [], "part": []})
    if candidate.classes != predicted.classes:
        return nothing
    if known is None:
        logger.info("version %s predicts no newer clips: which clips it was trained on is not known", folder.name)
        return nothing
    parts = clips[clips["labels"].str.len() > 0].groupby("part")["clip"].agg(set)
    labelled = {(clip, part) for part, name in PARTS.items() for clip in parts.get(name, set())}
    trained = set(known["clip"][known["trained"]])
    done = set(zip(predicted.rows["clip"], predicted.rows["part"].astype(str), strict=True))
    found = candidate.rows[["clip", "part"]].astype(str).drop_duplicates()
    pairs = zip(found["clip"], found["part"], strict=True)
    return found[[pair in labelled and pair not in done and pair[0] not in trained for pair in pairs]]


def _predict(folder: Path, new: pd.DataFrame, *, spectrograms: Path, precision: str) -> Predictions:
    paths = sorted(model_folders(folder / "models"), key=lambda path: read_metadata(path).name)
    rows, scores = [], []
    for member, folds in groupby(paths, key=lambda path: read_metadata(path).member.id):
        models = [load_model(path) for path in folds]
        for part, name in PARTS.items():
            data = read_spectrograms(spectrograms, parts=[name], clips=list(new["clip"][new["part"] == part]))
            if not len(data.clips):
                continue
            found = np.stack([score_clips(each, data.frames, data.offsets, precision=precision) for each in models])
            if part == "validation":
                places = np.arange(found.shape[1])
                averaged = found[places % len(models), places]
            else:
                averaged = found.mean(axis=0)
            rows.append(pd.DataFrame({"clip": data.clips["clip"], "part": part, "member": member, "fold": -1}))
            scores.append(averaged)
    return Predictions(read_classes(spectrograms), pd.concat(rows, ignore_index=True), np.concatenate(scores))
