"""The worst clips, the classes that are confused, and the clips whose labels may be wrong.

Finds curated clips whose labels may be wrong: models that were not trained on them prefer another class.

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
from audiotagging.statistics.metrics import label_precisions, margins

SUSPICIOUS_FILE = "suspicious.csv"
COLUMNS = ("fname", "labels", "label", "probability", "rank", "instead", "instead_probability")
SUSPICIOUS_PER_CLASS = 10  # clips with the same label in doubt, so that one hard class does not hide all others


def suspicious_clips(
    truth: np.ndarray, scores: np.ndarray, clips: Sequence[str], classes: Sequence[str], *, method: str
) -> list[dict[str, Any]]:
    """Return the clips to which another class fits better than their labels, at most `SUSPICIOUS_PER_CLASS` of a label.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        scores: Out-of-fold scores of the ensemble, shape (clips, classes).
        clips: Names of the clips.
        classes: The classes.
        method: How the scores are calibrated, a key of `calibration.METHODS`.

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
        if margins[clip] >= 0 or shown[label] == SUSPICIOUS_PER_CLASS:
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


PER_CLASS = 3  # worst clips with the same label, so that one hard class does not hide all others


def worst_clips(
    truth: np.ndarray, scores: np.ndarray, clips: list[str], classes: list[str], *, count: int = 20
) -> list[dict[str, Any]]:
    """Return the clips whose labels are ranked worst, of clips with the same label the worst `PER_CLASS`.

    Of clips whose labels are ranked equally badly, those come first whose label is outscored by more.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        scores: Scores of one system, shape (clips, classes).
        clips: Names of the clips.
        classes: The classes.
        count: Number of clips to return, if there are enough.

    Returns:
        One row per clip, worst first, as `describe_clip` returns it.
    """
    labelled = np.flatnonzero(truth.any(axis=1))
    means = label_precisions(truth, scores)[labelled].sum(axis=1) / truth[labelled].sum(axis=1)
    rounded = means.round(9)  # sums of the same precisions in another order are equal
    order = np.lexsort((margins(truth[labelled], scores[labelled]), rounded))
    rows: list[dict[str, Any]] = []
    shown: Counter[int] = Counter()
    for clip in labelled[order]:
        labels = np.flatnonzero(truth[clip]).tolist()
        if len(rows) < count and all(shown[label] < PER_CLASS for label in labels):
            shown.update(labels)
            rows.append(describe_clip(truth[clip], scores[clip], clips[clip], classes))
    return rows


def confusions(
    truth: np.ndarray, scores: np.ndarray, clips: list[str], classes: list[str], *, count: int = 10, examples: int = 2
) -> list[dict[str, Any]]:
    """Return the pairs of a label and a class that is ranked first instead, most frequent first.

    A clip is confused if the class that ranks first is not one of its labels. It counts for each of its labels.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        scores: Scores of one system, shape (clips, classes).
        clips: Names of the clips.
        classes: The classes.
        count: Number of pairs to return, if there are enough.
        examples: Number of clips to return for each pair, if there are enough.

    Returns:
        One row per pair: `label`, `first`, `clips` (their number), `labelled` (number of clips that have the label) and
        `examples` (the clips whose label is outscored by most, as `describe_clip` returns them).
    """
    first = scores.argmax(axis=1)
    confused = np.flatnonzero(truth.any(axis=1) & ~truth[np.arange(len(truth)), first])
    pairs: dict[tuple[int, int], list[int]] = {}
    for clip in confused.tolist():
        for label in np.flatnonzero(truth[clip]).tolist():
            pairs.setdefault((label, int(first[clip])), []).append(clip)
    rows = []
    for (label, other), found in sorted(pairs.items(), key=lambda pair: (-len(pair[1]), pair[0]))[:count]:
        found.sort(key=lambda clip: scores[clip, label] - scores[clip, other])
        rows.append(
            {
                "label": classes[label],
                "first": classes[other],
                "clips": len(found),
                "labelled": int(truth[:, label].sum()),
                "examples": [
                    describe_clip(truth[clip], scores[clip], clips[clip], classes) for clip in found[:examples]
                ],
            }
        )
    return rows


def describe_clip(
    labels: np.ndarray, scores: np.ndarray, clip: str, classes: list[str], *, shown: int = 3
) -> dict[str, Any]:
    """Describe what a system says of one clip.

    Args:
        labels: True for the labels of the clip, at least one, shape (classes,).
        scores: Its scores, shape (classes,).
        clip: Its name.
        classes: The classes.
        shown: Number of predictions to return.

    Returns:
        `clip`, `score` (the mean precision at the ranks of its labels), `labels` and `predicted` (lists of `label`,
        `score` and `rank`; ranks start at 1).
    """
    order = np.argsort(-scores, kind="stable")
    ranked = [
        {"label": classes[column], "score": float(scores[column]), "rank": rank} for rank, column in enumerate(order, 1)
    ]
    return {
        "clip": clip,
        "score": float(label_precisions(labels[None], scores[None]).sum() / labels.sum()),
        "labels": [row for row, column in zip(ranked, order, strict=True) if labels[column]],
        "predicted": ranked[:shown],
    }
