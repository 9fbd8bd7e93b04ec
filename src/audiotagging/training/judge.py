"""A judge of noisy labels: a quick member, trained on curated clips alone, says which labels it believes."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from audiotagging.artifacts.model_folder import read_history
from audiotagging.artifacts.spectrogram_shards import read_spectrograms
from audiotagging.errors import UserError
from audiotagging.members import Member
from audiotagging.metrics import label_table
from audiotagging.training.prediction import load_model, score_clips
from audiotagging.training.train import train

FOLD = 0  # held out, so that the judge's own lwlrap is known
QUICKER = 2  # times fewer epochs than the member it is made from
MAX_SHARE = 0.25  # of a class's noisy clips; the published recipe took 17 % of all

logger = logging.getLogger(__name__)


def judge_noisy_clips(
    spectrograms: Path, *, member: Member, folds: Mapping[str, int], seed: int, model: Path
) -> pd.DataFrame:
    """Train a judge and return the noisy clips whose labels it agrees with.

    Args:
        spectrograms: The folder of shards.
        member: The member that judges the clips, after half its epochs in one cycle.
        folds: The fold of every curated clip.
        seed: Seed of the judge's training.
        model: The folder to write the judge's model to.

    Returns:
        One row per clip, in the order of the noisy table: `fname` and `margin`.

    Raises:
        UserError: If the shards are not what they should be, or the judge agrees with no label.
    """
    judge = replace(member, id="judge", epochs=max(1, member.epochs // QUICKER), cycles=1)
    train(judge, fold=FOLD, spectrograms=spectrograms, folds=folds, noisy_clips=[], seed=seed, out=model)
    data = read_spectrograms(spectrograms, parts=["noisy"])
    truth = label_table(data.clips["labels"].tolist(), data.classes)
    scores = score_clips(load_model(model), data.frames, data.offsets)
    chosen = agreeing(truth, scores)
    lwlrap = read_history(model)["lwlrap"].iloc[-1]
    logger.info(
        "agreement: %d of %d noisy clips chosen, by a judge with lwlrap %.3f on fold %d",
        *(chosen.sum(), len(chosen), lwlrap, FOLD),
    )
    if not chosen.any():
        raise UserError(
            f"the judge of noisy=agreement (lwlrap {lwlrap:.3f}) agrees with the labels of none of {len(chosen)} noisy "
            "clips; train it longer, by more epochs of the first member, or choose noisy=none or a list"
        )
    return pd.DataFrame({"fname": data.clips["clip"], "margin": margins(truth, scores)})[chosen]


def margins(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return by how much each clip's lowest label outscores its highest other class.

    Args:
        truth: Whether the clip has the label, bool, shape (clips, classes), at least one label a clip.
        scores: The higher, the more likely, shape (clips, classes).

    Returns:
        Shape (clips,): above 0 where all labels rank on top, infinite for a clip that has every label.
    """
    labels = np.where(truth, scores, np.inf).min(axis=1)
    others = np.where(truth, -np.inf, scores).max(axis=1)
    return labels - others


def agreeing(truth: np.ndarray, scores: np.ndarray, *, max_share: float = MAX_SHARE) -> np.ndarray:
    """Choose the noisy clips whose labels a network that never saw them ranks on top.

    Clips are taken in the order of their margin, until one of their classes has its share.

    Args:
        truth: Whether the clip has the label, bool, shape (clips, classes), at least one label a clip.
        scores: The network's scores, shape (clips, classes).
        max_share: Share of a class's clips that may be taken, rounded up: classes that are easily told apart would
            outweigh the others.

    Returns:
        Whether a clip is chosen, bool, shape (clips,).
    """
    margin = margins(truth, scores)
    left = np.ceil(max_share * truth.sum(axis=0))
    chosen = np.zeros(len(truth), bool)
    for clip in np.argsort(-margin, kind="stable"):
        if margin[clip] > 0 and (left[truth[clip]] > 0).all():
            chosen[clip] = True
            left -= truth[clip]
    return chosen
