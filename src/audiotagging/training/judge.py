"""A judge of noisy labels: a member that is trained briefly on curated clips, and selects the labels it agrees with."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from audiotagging.artifacts.model_folder import read_history
from audiotagging.artifacts.spectrogram_shards import read_classes, read_clips, read_spectrograms
from audiotagging.errors import UserError
from audiotagging.members import Member
from audiotagging.metrics import chance, label_table, margins
from audiotagging.training.prediction import load_model, score_clips
from audiotagging.training.train import train

FOLD = 0  # held out to measure the lwlrap of the judge
QUICKER = 2  # the judge trains for this many times fewer epochs than its member
MAX_SHARE = 0.25  # largest share of a class's noisy clips; the published recipe used 17 % of all noisy clips

logger = logging.getLogger(__name__)


def judge_noisy_clips(
    spectrograms: Path, *, member: Member, folds: Mapping[str, int], seed: int, model: Path
) -> pd.DataFrame:
    """Train a judge and return the noisy clips whose labels it agrees with.

    Args:
        spectrograms: The folder of shards.
        member: The member that judges the clips. It trains for half of its epochs, in one cycle.
        folds: The fold of every curated clip.
        seed: Seed of the judge's training.
        model: The folder to write the judge's model to.

    Returns:
        One row per clip, in the order of the noisy table: `fname` and `margin`.

    Raises:
        UserError: If the shards cannot be used, or if the judge agrees with no label.
    """
    judge = replace(member, id="judge", epochs=max(1, member.epochs // QUICKER), cycles=1)
    train(judge, fold=FOLD, spectrograms=spectrograms, folds=folds, noisy_clips=[], seed=seed, out=model)
    data = read_spectrograms(spectrograms, parts=["noisy"])
    truth = label_table(data.clips["labels"].tolist(), data.classes)
    scores = score_clips(load_model(model), data.frames, data.offsets)
    chosen = agreeing(truth, scores)
    lwlrap, by_chance = read_history(model)["lwlrap"].iloc[-1], _chance(spectrograms, folds)
    logger.info(
        "agreement: the judge, whose lwlrap is %.3f on fold %d (chance is %.3f), chose %d of %d noisy clips",
        *(lwlrap, FOLD, by_chance, chosen.sum(), len(chosen)),
    )
    if not chosen.any():
        raise UserError(
            f"noisy=agreement: the judge (lwlrap {lwlrap:.3f}, chance {by_chance:.3f}) agrees with the labels of none "
            f"of the {len(chosen)} noisy clips; give the first member more epochs, or choose noisy=none or a list"
        )
    return pd.DataFrame({"fname": data.clips["clip"], "margin": margins(truth, scores)})[chosen]


def _chance(spectrograms: Path, folds: Mapping[str, int]) -> float:
    """Return the lwlrap of random scores on the clips that are held out."""
    clips = read_clips(spectrograms)
    held_out = clips[(clips["part"] == "curated") & (clips["clip"].map(folds) == FOLD)]
    return chance(label_table(held_out["labels"].tolist(), read_classes(spectrograms)))


def agreeing(truth: np.ndarray, scores: np.ndarray, *, max_share: float = MAX_SHARE) -> np.ndarray:
    """Choose the noisy clips whose labels are ranked on top by a network that was not trained on them.

    Clips are chosen in descending order of their margin, as long as none of their classes has reached its share.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes). Every clip has at least one label.
        scores: Scores of the network, shape (clips, classes).
        max_share: Largest share of a class's clips, rounded up to a whole clip. Without this limit, classes that are
            easy to recognise would outweigh the others.

    Returns:
        True for chosen clips, bool, shape (clips,).
    """
    margin = margins(truth, scores)
    left = np.ceil(max_share * truth.sum(axis=0))
    chosen = np.zeros(len(truth), bool)
    for clip in np.argsort(-margin, kind="stable"):
        if margin[clip] > 0 and (left[truth[clip]] > 0).all():
            chosen[clip] = True
            left -= truth[clip]
    return chosen
