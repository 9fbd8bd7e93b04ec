"""Distillation: what a student learns from an ensemble.

A curated clip is taught by the models that were not trained on it, because the others only repeat its label; where no
fold was held out, by all of them. A noisy clip is taught by all models, and its labels are not used. Test clips are not
used at all, so that the student can be scored on them.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from audiotagging.members import Member
from audiotagging.metrics import label_table
from audiotagging.training.training_data import Targets

STUDENT = "student"  # id of the member
# The share of the labels in what is learned of a curated clip. The rest are the ensemble's scores. From F. Schmid,
# K. Koutini and G. Widmer, "Efficient large-scale audio tagging via transformer-to-CNN knowledge distillation",
# ICASSP 2023, arXiv:2211.04772.
LABELS = 0.1


def student_of(member: Member) -> Member:
    """Return the student of the same size as a member.

    Its loss is the binary cross-entropy, because the focal loss is defined for targets of 0 and 1 alone. All of its
    crops count.
    """
    return replace(member, id=STUDENT, loss="bce", f2cl=1.0, freeze_epochs=0)


def mix_targets(clips: pd.DataFrame, scores: Mapping[str, np.ndarray], *, classes: list[str]) -> Targets:
    """Return what the student learns.

    Args:
        clips: The curated and noisy clips, with the columns `clip`, `part` and `labels`.
        scores: The ensemble's scores of each of these clips by name, between 0 and 1, each of shape (classes,).
        classes: The classes, in the order of the scores.

    Examples:
        >>> clips = pd.DataFrame({"clip": ["a", "b"], "part": ["curated", "noisy"], "labels": [["Bark"], ["Meow"]]})
        >>> scores = {"a": np.array([0.5, 0.3], np.float32), "b": np.array([0.9, 0.1], np.float32)}
        >>> mix_targets(clips, scores, classes=["Bark", "Meow"]).scores.round(2)
        array([[0.55, 0.27],
               [0.9 , 0.1 ]], dtype=float32)
    """
    taught = np.stack([scores[clip] for clip in clips["clip"]]).astype(np.float32)
    labels = label_table(clips["labels"].tolist(), classes)
    share = np.where(clips["part"] == "curated", LABELS, 0).astype(np.float32)[:, None]
    return Targets(list(clips["clip"]), (1 - share) * taught + share * labels)
