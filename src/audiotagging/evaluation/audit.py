"""Finds curated clips whose labels may be wrong: models that were not trained on them prefer another class.

Confident learning (Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR
2021) ranks clips by the normalised margin, the probability of the label minus that of the likeliest other class. Here a
clip may have several labels, and each class has a probability of its own. The margin is therefore taken on the scale of
logits, between the mean of the labels and the likeliest other class. docs/audit.md compares this with other rules.
"""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audiotagging.artifacts.calibration import logits
from audiotagging.base.files import atomic_file
from audiotagging.base.spreadsheet import to_field
from audiotagging.ensemble.calibration import cross_calibrate

NAME = "suspicious.csv"
COLUMNS = ("fname", "labels", "label", "probability", "rank", "instead", "instead_probability")
PER_CLASS = 10  # clips with the same label in doubt, so that one hard class does not hide all others


def suspicious_clips(
    truth: np.ndarray, scores: np.ndarray, clips: Sequence[str], classes: Sequence[str], *, method: str
) -> list[dict[str, Any]]:
    """Return the clips to which another class fits better than their labels, of the same label at most `PER_CLASS`.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        scores: Out-of-fold scores of the ensemble, shape (clips, classes).
        clips: Names of the clips.
        classes: The classes.
        method: How the scores are calibrated, a key of `calibrate.METHODS`.

    Returns:
        One row per clip, the lowest margin first: `clip`, `labels`, `label` (the one in doubt: the least likely of
        them), its `probability` and its `rank` among the classes, and `instead` (the likeliest other class) and its
        `instead_probability`. Probabilities are calibrated, by curves that were fitted without the clip.
    """
    probabilities = cross_calibrate(truth, scores, method=method)
    values = logits(probabilities)
    in_doubt = np.where(truth, values, np.inf).argmin(axis=1)
    instead = np.where(truth, -np.inf, values).argmax(axis=1)
    everything = np.arange(len(truth))
    margins = (values * truth).sum(axis=1) / truth.sum(axis=1) - values[everything, instead]
    margins[truth.all(axis=1)] = np.inf  # there is no other class
    rows: list[dict[str, Any]] = []
    shown: Counter[int] = Counter()
    for clip in np.argsort(margins, kind="stable").tolist():
        label, other = int(in_doubt[clip]), int(instead[clip])
        if margins[clip] >= 0 or shown[label] == PER_CLASS:
            continue
        shown[label] += 1
        rows.append(
            {
                "clip": clips[clip],
                "labels": [classes[column] for column in np.flatnonzero(truth[clip]).tolist()],
                "label": classes[label],
                "probability": float(probabilities[clip, label]),
                "rank": int((probabilities[clip] >= probabilities[clip, label]).sum()),
                "instead": classes[other],
                "instead_probability": float(probabilities[clip, other]),
            }
        )
    return rows


def write_suspicious(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table of what `suspicious_clips` returns."""
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for row in rows:
            table.writerow(
                [
                    *(
                        *map(to_field, (row["clip"], ",".join(row["labels"]), row["label"])),
                        f"{row['probability']:.4f}",
                    ),
                    *(row["rank"], to_field(row["instead"]), f"{row['instead_probability']:.4f}"),
                ]
            )
