"""Distillation: what a student learns from an ensemble.

A curated clip is taught by the models that were not trained on it, because the others only repeat its label; where no
fold was held out, or where these models were trained on no clip with one of its labels, by all of them. A noisy clip is
taught by all models, and its labels are not used. Test clips are not used at all, so that the student can be scored on
them.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from audiotagging.artifacts.calibration import calibrate
from audiotagging.ensemble.calibration import fit_platt
from audiotagging.members import Member
from audiotagging.statistics.metrics import label_table
from audiotagging.training.batches import Targets

STUDENT = "student"  # id of the member
# The share of the labels in what is learned of a curated clip. The rest are the ensemble's scores. From F. Schmid,
# K. Koutini and G. Widmer, "Efficient large-scale audio tagging via transformer-to-CNN knowledge distillation",
# ICASSP 2023, arXiv:2211.04772.
LABELS = 0.1
# How many times as long as the member the student learns. Its targets say more than labels do, so it goes on to gain
# where a member would learn by heart. L. Beyer et al., "Knowledge distillation: a good teacher is patient and
# consistent", CVPR 2022, arXiv:2106.05237.
PATIENCE = 4


def student_of(member: Member) -> Member:
    """Return the student of the same size as a member.

    It learns for `PATIENCE` times as many epochs. Its loss is the binary cross-entropy, because the focal loss is
    defined for targets of 0 and 1 alone. All of its crops count.
    """
    return replace(member, id=STUDENT, loss="bce", f2cl=1.0, freeze_epochs=0, epochs=PATIENCE * member.epochs)


def mix_targets(clips: pd.DataFrame, scores: Mapping[str, np.ndarray], *, classes: list[str]) -> Targets:
    """Return what the student learns: the scores as probabilities, mixed with the labels of curated clips.

    Args:
        clips: The curated and noisy clips, with the columns `clip`, `part` and `labels`.
        scores: The ensemble's scores of each of these clips by name, between 0 and 1, each of shape (classes,).
        classes: The classes, in the order of the scores.
    """
    taught = np.stack([scores[clip] for clip in clips["clip"]])
    labels = label_table(clips["labels"].tolist(), classes)
    curated = (clips["part"] == "curated").to_numpy()
    # Scores of an ensemble are flat: focal losses and mixtures keep those of right classes far below 1 and those of
    # wrong ones far above 0, and a student would learn little. One curve for all classes makes them probabilities.
    curve = fit_platt(taught[curated].ravel(), labels[curated].ravel() > 0)
    taught = calibrate(taught.reshape(-1, 1), [curve]).reshape(taught.shape).astype(np.float32)
    share = np.where(curated, LABELS, 0).astype(np.float32)[:, None]
    return Targets(list(clips["clip"]), (1 - share) * taught + share * labels)
