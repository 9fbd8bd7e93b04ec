"""How far an ensemble's probabilities and thresholds can be trusted, on the clips of each set.

The curves and thresholds were fitted to the out-of-fold clips, so only the test clips show whether they hold on other
clips. The probabilities of the out-of-fold clips come from a cross-validation.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from audiotagging.artifacts.calibration import PROMISES, Calibration, Threshold, calibrate
from audiotagging.artifacts.ensemble_folder import ENSEMBLE
from audiotagging.ensemble.calibration import cross_calibrate
from audiotagging.ensemble.labelled_clips import LabelledSet
from audiotagging.ensemble.thresholds import fewest_clips, find_thresholds, lowest_scores, wilson
from audiotagging.statistics.metrics import calibration_bins, calibration_error, lwlrap


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
            for promised in PROMISES
        ]
        if label in unheard:
            described = [{"promised": promised, "reason": "only in one fold"} for promised in PROMISES]
        rows.append({"label": label, "clips": clips, "promises": described})
    promises = []
    for promised in PROMISES:
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
