"""Scores systems on labelled clips, with confidence intervals. Takes arrays and returns plain dictionaries.

The bootstrap over clips: how much a score would vary if other clips of the same kind were scored.

Every score here is the ratio of two sums over clips. lwlrap, for example, is the sum of the label precisions divided by
the number of labels. The bootstrap therefore needs only the two sums of each clip, and one matrix product computes all
draws. Systems that are drawn together see the same clips in every draw, so their differences are paired.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from audiotagging.statistics.metrics import average_precisions, label_precisions

DRAWS = 1000
SEED = 534
CONFIDENCE = 0.95


def bootstrap(numerators: np.ndarray, denominators: np.ndarray, *, draws: int = DRAWS, seed: int = SEED) -> np.ndarray:
    """Score systems on clips drawn with replacement.

    Args:
        numerators: What each clip adds to the numerator of each system's score, shape (clips, systems).
        denominators: What each clip adds to the denominator, shape (clips, systems) or (clips, 1).
        draws: Number of draws. Each draw takes as many clips as there are.
        seed: Seed of the draws.

    Returns:
        Scores, shape (draws, systems). A score is NaN if its denominator is 0.
    """
    clips = len(numerators)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(clips, size=(draws, clips))
    drawn += clips * np.arange(draws)[:, None]  # draw d counts its clips from cell d * clips on
    counts = np.bincount(drawn.ravel(), minlength=draws * clips).reshape(draws, clips).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return (counts @ numerators) / (counts @ denominators)


def interval(scores: np.ndarray, *, level: float = CONFIDENCE) -> tuple[float, float]:
    """Return the percentile interval that contains the share `level` of the scores.

    Args:
        scores: One score per draw, shape (draws,).
        level: Share of the scores between the two ends.

    Returns:
        The lower and the upper end.
    """
    low, high = np.nanpercentile(scores, [50 - 50 * level, 50 + 50 * level])
    return float(low), float(high)


class Estimate(TypedDict):
    """A score, or a difference between two, and its 95 % interval."""

    score: float
    low: float
    high: float


class Compared(Estimate):
    """The score of a system, and by how much the reference is better."""

    difference: float
    difference_low: float
    difference_high: float


def estimate_systems(
    truth: np.ndarray, reference: np.ndarray, others: Mapping[str, Mapping[str, np.ndarray]]
) -> tuple[Estimate, dict[str, dict[str, Compared]]]:
    """Estimate the lwlrap of a reference system and of other systems, and the differences between them.

    The bootstrap draws the same clips for all systems, so the differences are paired.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        reference: Scores of the reference, shape (clips, classes).
        others: Scores of the other systems by group and name, each of shape (clips, classes).

    Returns:
        `score`, `low` and `high` of the reference; and by group and name the same of the other systems, with
        `difference`, `difference_low` and `difference_high` (the reference's score minus the other's).
    """
    keys = [(group, name) for group, systems in others.items() for name in systems]
    points, draws = bootstrap_systems(truth, [reference, *(others[group][name] for group, name in keys)])
    first, *rest = [estimate(float(points[system]), draws[:, system]) for system in range(len(points))]
    groups: dict[str, dict[str, Compared]] = {group: {} for group in others}
    for system, ((group, name), found) in enumerate(zip(keys, rest, strict=True), 1):
        difference = estimate(float(points[0] - points[system]), draws[:, 0] - draws[:, system])
        groups[group][name] = Compared(
            **found,
            difference=difference["score"],
            difference_low=difference["low"],
            difference_high=difference["high"],
        )
    return first, groups


def bootstrap_systems(truth: np.ndarray, systems: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Score systems on all clips, and on the same draws of clips for all of them.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        systems: Scores of each system, each of shape (clips, classes).

    Returns:
        The lwlrap of every system, shape (systems,), and that of every draw, shape (draws, systems).
    """
    sums = np.stack([label_precisions(truth, system).sum(axis=1) for system in systems], axis=1)  # (clips, systems)
    labels = truth.sum(axis=1, keepdims=True).astype(np.float64)
    return sums.sum(axis=0) / labels.sum(), bootstrap(sums, labels)


def estimate(score: float, draws: np.ndarray) -> Estimate:
    """Return a score with the ends of its interval: `score`, `low` and `high`."""
    low, high = interval(draws)
    return Estimate(score=score, low=low, high=high)


def estimate_classes(truth: np.ndarray, scores: np.ndarray, classes: list[str]) -> list[dict[str, Any]]:
    """Estimate the lwlrap of every class: the mean precision at the rank of its label, over the clips that have it.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        scores: Scores of one system, shape (clips, classes).
        classes: The classes.

    Returns:
        One row per class that occurs, best first: `label`, `clips` (the number of clips that have it), `score`, `low`
        and `high`, and `average_precision`.
    """
    present = np.flatnonzero(truth.any(axis=0))
    ranked = average_precisions(truth, scores)[present]
    precisions, truth = label_precisions(truth, scores)[:, present], truth[:, present].astype(np.float64)
    points = precisions.sum(axis=0) / truth.sum(axis=0)
    draws = bootstrap(precisions, truth)
    rows = [
        {"label": classes[column], "clips": int(truth[:, place].sum())}
        | estimate(float(points[place]), draws[:, place])
        | {"average_precision": float(ranked[place])}
        for place, column in enumerate(present)
    ]
    return sorted(rows, key=lambda row: (-row["score"], row["label"]))


def compare_classes(truth: np.ndarray, old: np.ndarray, new: np.ndarray, classes: list[str]) -> list[dict[str, Any]]:
    """Estimate the gain of every class from one system to another.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        old: Scores of the old system, shape (clips, classes).
        new: Scores of the new system, shape (clips, classes).
        classes: The classes.

    Returns:
        One row per class that occurs, largest gain first: `label`, `clips`, `old`, `new`, `difference`, and `low` and
        `high` (the interval of the difference).
    """
    present = np.flatnonzero(truth.any(axis=0))
    before, after = label_precisions(truth, old)[:, present], label_precisions(truth, new)[:, present]
    labels = truth[:, present].astype(np.float64)
    draws = bootstrap(after - before, labels)
    rows = []
    for place, column in enumerate(present):
        clips = labels[:, place].sum()
        old_score, new_score = float(before[:, place].sum() / clips), float(after[:, place].sum() / clips)
        low, high = interval(draws[:, place])
        row = {"label": classes[column], "clips": int(clips), "old": old_score, "new": new_score}
        rows.append(row | {"difference": new_score - old_score, "low": low, "high": high})
    return sorted(rows, key=lambda row: (-row["difference"], row["label"]))


def similarity(scores: np.ndarray) -> list[list[float]]:
    """Return the share of clips to which two members give the same top class.

    Args:
        scores: Scores of the members, shape (members, clips, classes).

    Returns:
        Shares in [0, 1], shape (members, members).
    """
    first = scores.argmax(axis=2)
    return [[float((one == other).mean()) for other in first] for one in first]


QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def describe_classes(
    truth: np.ndarray, systems: Mapping[str, np.ndarray], reference: str, *, clips: Sequence[str], classes: list[str]
) -> dict[str, dict[str, Any]]:
    """Describe how each class does with every system, and how a reference scores clips with and without its label.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        systems: Scores of the systems by name, each of shape (clips, classes).
        reference: Name of the system whose scores are described.
        clips: Names of the clips.
        classes: The classes.

    Returns:
        For each class that occurs: `members` (its lwlrap with each of the other systems, by name), `best` (the `clip`
        with the label that has the highest `score`), and `with_label` and `without_label` (`QUANTILES` of the
        reference's scores of clips that have the label, and of all others; the latter are left out if there are none).
    """
    precisions = {name: label_precisions(truth, scores) for name, scores in systems.items() if name != reference}
    rows = {}
    for column in np.flatnonzero(truth.any(axis=0)):
        labelled, scores = truth[:, column], systems[reference][:, column]
        best = np.flatnonzero(labelled)[scores[labelled].argmax()]
        rows[classes[column]] = {
            "best": {"clip": clips[best], "score": float(scores[best])},
            "members": {name: float(found[labelled, column].mean()) for name, found in precisions.items()},
            "with_label": np.quantile(scores[labelled], QUANTILES).tolist(),
        }
        if not labelled.all():
            rows[classes[column]]["without_label"] = np.quantile(scores[~labelled], QUANTILES).tolist()
    return rows
