"""What the scores of a run say, in sentences for the terminal. The report says the same."""

from collections.abc import Mapping
from typing import Any

SETS = {"all": "test clips", "out_of_fold": "out-of-fold clips"}


def findings(scores: Mapping[str, Any]) -> list[str]:
    """Return what a user should know about the scores of a run, one sentence per finding.

    Args:
        scores: The content of `scores.json`, as `audiotagging.report.evaluate` describes it.
    """
    sentences = []
    if "scored" in scores:
        estimates = scores["estimates"][scores["scored"]]
        ensemble, members = estimates["ensemble"], estimates["members"]
        sentences.append(
            f"On {estimates['clips']} {SETS[scores['scored']]}, the lwlrap of the ensemble is {ensemble['score']:.4f}, "
            f"95 % interval {ensemble['low']:.4f} to {ensemble['high']:.4f}; chance is {estimates['chance']:.4f}."
        )
        if len(members) > 1:
            name, best = max(members.items(), key=lambda member: member[1]["score"])
            sentences.append(f"It is {_comparison(best)} its best member, {name}: {_difference(best)}.")
        if "linear" in estimates:
            sentences.append(_linear(estimates["linear"]["linear"]))
        if "baseline" in estimates:
            other = estimates["baseline"]["baseline"]
            sentences.append(
                f"It is {_comparison(other)} {scores['baseline']}, whose lwlrap is {other['score']:.4f}: "
                f"{_difference(other)}."
            )
        if "before" in scores:
            sentences.append(_before(scores["before"]))
        if "thresholds" in scores:
            sentences.append(_submission(scores["calibration"]))
            sentences += [_promise(promise, scores["scored"]) for promise in scores["thresholds"]["promises"]]
            sentences.append(_suspicious(scores["suspicious"]))
        else:
            sentences.append("The scores are uncalibrated, and no precision can be promised: that needs --folds.")
            sentences.append("The labels of the curated clips were not checked: that needs --folds too.")
    else:
        sentences.append("There is nothing to score: no test clip has labels, and no fold was held out.")
    if "promotion" in scores:
        sentences.append(scores["promotion"]["reason"])
    return sentences


def _linear(other: Mapping[str, float]) -> str:
    found = (
        f"It is {_comparison(other)} a linear model of spectrogram statistics, whose lwlrap is {other['score']:.4f}: "
        f"{_difference(other)}."
    )
    if other["difference_low"] > 0:
        return found
    return f"{found} Longer training helps (a larger --budget), and so do more clips and cleaner labels."


def _submission(calibration: Mapping[str, Any]) -> str:
    kind, other = ("calibrated", "uncalibrated") if calibration["submitted"] else ("uncalibrated", "calibrated")
    lwlraps = {name: scores["lwlrap"] for name, scores in calibration["sets"]["out_of_fold"].items()}
    return (
        f"submission.csv holds {kind} scores: their lwlrap is {lwlraps[kind]:.4f} out of fold, that of {other} ones "
        f"{lwlraps[other]:.4f}."
    )


def _promise(promise: Mapping[str, Any], scored: str) -> str:
    observed, classes = promise["sets"][scored], promise["classes"] + promise["missing"]
    if not promise["classes"]:
        return f"A precision of {promise['promised']} is promised for none of {classes} classes."
    kept = "nothing passes"
    if observed["tags"]:
        kept = (
            f"the precision is {observed['precision']:.4f}, 95 % interval {observed['low']:.4f} to "
            f"{observed['high']:.4f}, and the recall {observed['recall']:.4f}"
        )
    return f"A precision of {promise['promised']} is promised for {promise['classes']} of {classes} classes: {kept}."


def _before(before: Mapping[str, Any]) -> str:
    return (
        f"It is {_comparison(before)} the run before, whose lwlrap on the same {before['clips']} "
        f"{SETS[before['set']]} is {before['before']:.4f}: {_difference(before)}. "
        f"Changed since then: {'; '.join(before['changes']) or 'nothing'}."
    )


def _suspicious(clips: int) -> str:
    if not clips:
        return "No curated clip contradicts its labels."
    return f"To {clips} curated clips, another class fits better than their labels: audit.html shows them."


def _comparison(other: Mapping[str, float]) -> str:
    if other["difference_low"] > 0:
        return "better than"
    return "worse than" if other["difference_high"] < 0 else "not clearly different from"


def _difference(other: Mapping[str, float]) -> str:
    return (
        f"{other['difference']:+.4f}, 95 % interval {other['difference_low']:+.4f} to {other['difference_high']:+.4f}"
    )
