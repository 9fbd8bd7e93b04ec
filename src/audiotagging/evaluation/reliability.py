"""What probabilities and thresholds keep on other clips, and what is tagged in clips without labels.

What the ensemble tags in the disturbances (silence, noise, hum, clicks, the quiet ends of clips) and in negatives.

The thresholds lie above the scores of all disturbances, so that none of these is tagged. How many tags others like them
get is therefore found in another way: thresholds that are fitted to one half of the disturbances are applied to the
other half, and the other way round. Both halves have every variant of every kind.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from audiotagging.artifacts.calibration import TARGET_PRECISIONS, Calibration, Threshold, calibrate
from audiotagging.artifacts.ensemble_folder import ENSEMBLE
from audiotagging.ensemble.calibration import cross_calibrate
from audiotagging.ensemble.labelled_clips import LabelledSet
from audiotagging.ensemble.thresholds import fewest_clips, find_min_scores, find_thresholds, lowest_scores, wilson
from audiotagging.statistics.metrics import calibration_bins, calibration_error, lwlrap

NEGATIVES = "clips without labels"


def describe_false_alarms(
    disturbances: LabelledSet, seconds: Sequence[float], classes: Sequence[str], out_of_fold: LabelledSet | None
) -> list[dict[str, Any]]:
    """Describe the wrong tags of the disturbances by kind.

    Args:
        disturbances: The disturbances. Their labels are the classes that are right for them.
        seconds: The length of every disturbance.
        classes: The classes, in the order of the scores.
        out_of_fold: The clips that thresholds are fitted to, if there are any.

    Returns:
        For each kind, `kind`, `clips`, `seconds`, the highest `score` of a wrong tag and its `label`, and `promises`:
        for each promised precision, the numbers of wrong tags per minute that reach the thresholds `before` and `after`
        they were raised. Empty without thresholds.
    """
    wrong = _wrong(disturbances)
    kinds = kinds_of(disturbances.clips)
    counts = _count_tags(disturbances, kinds, wrong, classes, out_of_fold) if out_of_fold else {}
    rows = []
    for kind in kinds.unique():
        here = (kinds == kind).to_numpy()
        label = int(wrong[here].max(axis=0).argmax())
        minutes = float(np.asarray(seconds)[here].sum()) / 60
        promises = [
            {"promised": promised, "before": before[here].sum() / minutes, "after": after[here].sum() / minutes}
            for promised, (before, after) in counts.items()
        ]
        rows.append(
            {
                "kind": kind,
                "clips": int(here.sum()),
                "seconds": 60 * minutes,
                "label": classes[label],
                "score": float(wrong[here, label].max()),
                "promises": promises,
            }
        )
    return rows


def describe_negatives(
    negatives: LabelledSet,
    seconds: Sequence[float],
    classes: Sequence[str],
    thresholds: Mapping[str, Sequence[Threshold]],
    out_of_fold: LabelledSet | None,
) -> dict[str, Any]:
    """Describe the tags of clips in which nothing is to be tagged, all of which are wrong, as a kind of its own.

    Args:
        negatives: The clips, at least one.
        seconds: The length of every clip.
        classes: The classes, in the order of the scores.
        thresholds: The thresholds of every class.
        out_of_fold: The clips that thresholds are fitted to, if there are any.

    Returns:
        What `describe_false_alarms` returns of a kind, with the tags that reach the thresholds themselves as `after`.
    """
    scores = negatives.systems[ENSEMBLE]
    minutes = float(np.sum(seconds)) / 60
    promises = []
    if out_of_fold:
        unraised = find_thresholds(out_of_fold.truth, out_of_fold.systems[ENSEMBLE], classes)
        for promised in TARGET_PRECISIONS:
            before, after = (
                int((scores >= lowest_scores(found, classes, promised=promised)).sum()) / minutes
                for found in (unraised, thresholds)
            )
            promises.append({"promised": promised, "before": before, "after": after})
    label = int(scores.max(axis=0).argmax())
    return {
        "kind": NEGATIVES,
        "clips": len(negatives.clips),
        "seconds": 60 * minutes,
        "label": classes[label],
        "score": float(scores[:, label].max()),
        "promises": promises,
    }


def kinds_of(names: Sequence[str]) -> pd.Series:
    """Return the kind of every disturbance, in words.

    Examples:
        >>> kinds_of(["white-noise-1", "hum-12"]).tolist()
        ['white noise', 'hum']
    """
    return pd.Series(names, dtype=str).str.rpartition("-")[0].str.replace("-", " ")


def loudest_kinds(disturbances: LabelledSet, classes: Sequence[str]) -> dict[str, str]:
    """Return, for every class, the kind of the disturbance with the highest score among those where it is wrong."""
    places = _wrong(disturbances).argmax(axis=0)
    return dict(zip(classes, kinds_of(disturbances.clips)[places], strict=True))


def _wrong(disturbances: LabelledSet) -> np.ndarray:
    """Return the scores of wrong tags, and minus infinity for right ones, shape (disturbances, classes)."""
    return np.where(disturbances.truth, -np.inf, disturbances.systems[ENSEMBLE])


def _count_tags(
    disturbances: LabelledSet, kinds: pd.Series, wrong: np.ndarray, classes: Sequence[str], out_of_fold: LabelledSet
) -> dict[float, tuple[np.ndarray, np.ndarray]]:
    """Return, for each promised precision, the wrong tags of every disturbance before and after raising."""
    fitted_to = out_of_fold.truth, out_of_fold.systems[ENSEMBLE], classes
    unraised = find_thresholds(*fitted_to)
    second_half = (kinds.groupby(kinds).cumcount() >= kinds.groupby(kinds).transform("size") / 2).to_numpy()
    raised = []
    for half in (~second_half, second_half):
        min_scores = find_min_scores(disturbances.truth[half], disturbances.systems[ENSEMBLE][half])
        raised.append(find_thresholds(*fitted_to, min_scores=min_scores))
    counts = {}
    for promised in TARGET_PRECISIONS:
        before, *after = (
            (wrong >= lowest_scores(thresholds, classes, promised=promised)).sum(axis=1)
            for thresholds in (unraised, *raised)
        )
        counts[promised] = before, np.where(second_half, *after)
    return counts


def describe_calibration(
    calibration: Calibration, sets: Mapping[str, LabelledSet], classes: Sequence[str]
) -> dict[str, Any]:
    """Compare the scores of the ensemble before and after their calibration.

    Args:
        calibration: The calibration.
        sets: The sets of labelled clips by name.
        classes: The classes, in the order of the scores.

    Returns:
        `method`, `log_loss` and `submitted` as in `Calibration`, and `sets`: for each set, of the "uncalibrated" and of
        the "calibrated" scores, `error` (the expected calibration error), `lwlrap`, and `bins` (rows of `probability`,
        `share` and `pairs`).
    """
    described: dict[str, Any] = {}
    for name, scored in sets.items():
        scores = scored.systems[ENSEMBLE]
        if name == "out_of_fold":
            probabilities = cross_calibrate(scored.truth, scores, method=calibration.method)
        else:
            probabilities = calibrate(scores, [calibration.curves[label] for label in classes])
        described[name] = {
            kind: {
                "error": calibration_error(scored.truth, values),
                "lwlrap": lwlrap(scored.truth, values),
                "bins": calibration_bins(scored.truth, values),
            }
            for kind, values in (("uncalibrated", scores), ("calibrated", probabilities))
        }
    return {
        "method": calibration.method,
        "log_loss": calibration.log_loss,
        "submitted": calibration.submitted,
        "sets": described,
    }


def describe_thresholds(
    thresholds: Mapping[str, Sequence[Threshold]],
    sets: Mapping[str, LabelledSet],
    classes: Sequence[str],
    *,
    loudest: Mapping[str, str],
    unheard: Collection[str] = (),
) -> dict[str, Any]:
    """Describe what the thresholds promise, and what they keep.

    Args:
        thresholds: The thresholds of every class.
        sets: The sets of labelled clips by name, "out_of_fold" among them.
        classes: The classes, in the order of the scores.
        loudest: For every class, the kind of the disturbance with the highest score. Empty if none were scored.
        unheard: The classes that the models which scored their clips were not trained on.

    Returns:
        `promises`: for each promised precision, the numbers of `classes` with and `missing` a threshold, and by set the
        number of `tags` that pass, their `precision` with its interval (`low` and `high`), and the `recall` among all
        labels.
        `classes`: for each class, `label`, `clips` (the out-of-fold clips with the label), and `promises`, which hold
        the fields of `Threshold`, or `promised` and the `reason` why there is no threshold. If disturbances raised it,
        they also hold `before` (the score of the threshold without them) and `above` (their kind).
    """
    fitted = sets["out_of_fold"]
    unraised = find_thresholds(fitted.truth, fitted.systems[ENSEMBLE], classes)
    rows = []
    for label, clips in zip(classes, fitted.truth.sum(axis=0).tolist(), strict=True):
        found, before = ({each.promised: each for each in group[label]} for group in (thresholds, unraised))
        described = [
            _describe(promised, found.get(promised), before.get(promised), clips=clips, loudest=loudest.get(label))
            for promised in TARGET_PRECISIONS
        ]
        if label in unheard:
            described = [{"promised": promised, "reason": "only in one fold"} for promised in TARGET_PRECISIONS]
        rows.append({"label": label, "clips": clips, "promises": described})
    promises = []
    for promised in TARGET_PRECISIONS:
        lowest = lowest_scores(thresholds, classes, promised=promised)
        count = int(np.isfinite(lowest).sum())
        kept = {name: _observe(scored, lowest) for name, scored in sets.items()}
        promises.append({"promised": promised, "classes": count, "missing": len(classes) - count, "sets": kept})
    return {"promises": promises, "classes": rows}


def _describe(
    promised: float, found: Threshold | None, before: Threshold | None, *, clips: int, loudest: str | None
) -> dict[str, Any]:
    """Return the fields of a threshold, and what raised it; or why there is none."""
    raised = {"before": before.score, "above": loudest} if before and before != found else {}
    if found:
        return asdict(found) | raised
    if raised:
        return {"promised": promised, "reason": f"not above {loudest}"} | raised
    return {"promised": promised, "reason": "too few clips" if clips < fewest_clips(promised) else "too imprecise"}


def _observe(scored: LabelledSet, lowest: np.ndarray) -> dict[str, float]:
    """Return how many tags pass the thresholds of their classes, and how many of them are right."""
    passed = scored.systems[ENSEMBLE] >= lowest
    tags, right = int(passed.sum()), int((passed & scored.truth).sum())
    observed: dict[str, float] = {"tags": tags, "recall": right / int(scored.truth.sum())}
    if tags:
        low, high = wilson(np.array(right), np.array(tags), level=0.95)
        observed |= {"precision": right / tags, "low": float(low), "high": float(high)}
    return observed
