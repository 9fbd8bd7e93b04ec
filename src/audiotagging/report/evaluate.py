"""Scores the ensemble and its members, and writes the scores and the report."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audiotagging.artifacts.averaging import Averaging, average
from audiotagging.artifacts.champions_folder import Promotion
from audiotagging.artifacts.ensemble_folder import ENSEMBLE, read_ensemble
from audiotagging.artifacts.excerpts import Excerpt, read_excerpts
from audiotagging.artifacts.near_duplicates import describe_alike, read_alike
from audiotagging.artifacts.predictions import Predictions
from audiotagging.artifacts.selection import read_linear_scores
from audiotagging.artifacts.spectrogram_shards import NEGATIVE, read_notes, read_rejected, read_spectrograms
from audiotagging.artifacts.verified import read_verified
from audiotagging.base.csv_table import TableError, read_table
from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_file
from audiotagging.base.typed_json import write_json
from audiotagging.base.wording import pluralize
from audiotagging.ensemble.labelled_clips import (
    LabelledSet,
    check_predictions,
    disturbance_set,
    gather,
    labelled_sets,
    negative_set,
)
from audiotagging.evaluation.differences import Settings
from audiotagging.evaluation.mistakes import (
    SUSPICIOUS_FILE,
    confusions,
    suspicious_clips,
    worst_clips,
    write_suspicious,
)
from audiotagging.evaluation.previous_run import compare_with_before, with_changes
from audiotagging.evaluation.reliability import (
    describe_calibration,
    describe_false_alarms,
    describe_negatives,
    describe_thresholds,
    loudest_kinds,
)
from audiotagging.evaluation.run_metadata import (
    Origin,
    read_models,
    summarise_data,
    summarise_origin,
    summarise_run,
    summarise_selection,
    summarise_training,
)
from audiotagging.evaluation.scores import SCHEMA_VERSION, Before, OriginSummary
from audiotagging.members import LINEAR
from audiotagging.report import audit_page
from audiotagging.report import report as html
from audiotagging.report.audit_page import write_audit
from audiotagging.statistics.intervals import describe_classes, estimate_classes, estimate_systems, similarity
from audiotagging.statistics.metrics import chance, mean_average_precision

BASELINE = "baseline"
EVENTS = 100  # of the history of the champions, the newest
DRAWN = 0.9  # the promised precision whose thresholds are drawn beside the scores of each class

logger = logging.getLogger(__name__)


def evaluate(
    ensemble: Path,
    *,
    models: Sequence[Path],
    spectrograms: Path,
    selection: Path,
    report: Path,
    scores: Path,
    audit: Path,
    baseline: Path | None = None,
    excerpts_of: Callable[[Collection[str]], Mapping[str, Excerpt]] | None = None,
    before: Path | Before | None = None,
    promotion: Promotion | None = None,
    origin: Origin | OriginSummary | None = None,
) -> dict[str, Any]:
    """Score the ensemble and its members, and write the scores and the report.

    Args:
        ensemble: The folder that `audiotagging.ensemble.ensembling.ensemble` wrote.
        models: Folders of the trained models.
        spectrograms: The folder of shards that they were predicted from.
        selection: The folder of the selection that was trained on (`audiotagging.artifacts.selection`).
        report: The HTML file to write.
        scores: The JSON file to write.
        audit: The folder to write `suspicious.csv` and `audit.html` to. It stays empty if no folds were held out.
        baseline: Another submission for the same test clips, to compare the ensemble with.
        excerpts_of: Returns the excerpts of some clips, as far as there are any. By default they are those that
            `preprocess` kept.
        before: The output folder of the run before this one, to compare with, or what an earlier `scores.json` says of
            that.
        promotion: The output of the stage `promote`, or what an earlier `scores.json` says of that.
        origin: Where the run came from, or what an earlier `scores.json` says of that.

    Returns:
        The content of `scores`, as this module's docstring describes it. Sets without labelled clips are left out.

    Raises:
        UserError: If an input is corrupt or from another run, if the baseline is not a submission for the same clips
            and classes, or if there is a baseline but no test clip has labels.
    """
    load_excerpts = excerpts_of or partial(read_excerpts, spectrograms)
    audit.mkdir(parents=True, exist_ok=True)
    predictions, averaging = read_ensemble(ensemble)
    clips = check_predictions(ensemble, predictions, spectrograms)
    sets = labelled_sets(predictions, clips)
    earlier = None if baseline is None else _read_baseline(baseline, predictions)
    if baseline and "all" not in sets:
        raise UserError(
            f"{baseline}: expected labelled test clips to compare it on, found none in {spectrograms}; "
            "add the labels to the data, or leave the baseline out"
        )

    others: dict[str, dict[str, pd.DataFrame | None]] = {BASELINE: {"test": earlier}}
    if list(averaging.weights) != [LINEAR]:  # which need not be compared with itself
        others[LINEAR] = read_linear_scores(selection, predictions)
    estimates = {name: _estimate(name, scored, averaging, others) for name, scored in sets.items()}

    trained = read_models(models, members=list(averaging.weights), classes=predictions.classes)
    gathered = gather(predictions, part="test" if (predictions.rows["part"] == "test").any() else "validation")
    result: dict[str, Any] = {
        "ensemble": {name: estimate["ensemble"]["score"] for name, estimate in estimates.items()},
        "members": {
            member: {name: estimate["members"][member]["score"] for name, estimate in estimates.items()}
            for member in averaging.weights
        },
        "mean_average_precision": {
            system: {
                name: mean_average_precision(scored.truth, scored.systems[system]) for name, scored in sets.items()
            }
            for system in (ENSEMBLE, *averaging.weights)
        },
        "estimates": estimates,
        "trained": summarise_training(trained),
        "data": summarise_data(
            clips,
            predictions.classes,
            read_rejected(spectrograms),
            _notes(spectrograms, clips, predictions),
            read_verified(spectrograms),
        ),
        "selection": summarise_selection(selection, clips, predictions.classes),
        "run": {"mean": averaging.mean, "weights": averaging.weights} | summarise_run(trained),
    }
    if gathered.clips:
        result["similarity"] = {"members": gathered.members[1:], "share": similarity(gathered.scores[1:])}
    if isinstance(before, Path):
        before = compare_with_before(
            before,
            sets=sets,
            spectrograms=spectrograms,
            settings=Settings([model.facts for model in trained], averaging, result["selection"]["clips"]),
        )
    if before:
        result["before"] = with_changes(before)
    if promotion:
        result["promotion"] = promotion["decision"]
        result["champions"] = promotion["history"][-EVENTS:]
    if baseline:
        result["baseline"] = str(baseline)
    linear = {name: estimate[LINEAR][LINEAR]["score"] for name, estimate in estimates.items() if LINEAR in estimate}
    if linear:
        result[LINEAR] = linear
    if origin:
        result["origin"] = summarise_origin(origin, trained) if isinstance(origin, Origin) else origin
    result |= _look_closer(sets, predictions.classes, clips)
    result |= _check_thresholds(averaging, predictions, clips)
    if averaging.calibration and "thresholds" in result:
        lowest = averaging.lowest_scores(DRAWN)
        for row in result["classes"]:
            if row["label"] in lowest:
                row["threshold"] = lowest[row["label"]]
        scored, method = _heard(sets["out_of_fold"], predictions, clips), averaging.calibration.method
        suspicious = suspicious_clips(
            scored.truth, scored.systems[ENSEMBLE], scored.clips, predictions.classes, method=method
        )
        result["suspicious"] = len(suspicious)
        _write_audit(
            audit, suspicious, clips, predictions.classes, spectrograms=spectrograms, excerpts_of=load_excerpts
        )
    shown = {row["clip"] for row in html.shown_clips(result)}
    excerpts = _excerpts(result, load_excerpts)
    figures = ", ".join(f"{name} {score:.4f}" for name, score in result["ensemble"].items()) or "nothing to score"
    logger.info("lwlrap of the ensemble: %s", figures)
    precisions = result["mean_average_precision"][ENSEMBLE]
    if precisions:
        logger.info("mAP of the ensemble: %s", ", ".join(f"{name} {score:.4f}" for name, score in precisions.items()))
    page = html.render(result, models=trained, pictures=_pictures(spectrograms, shown), excerpts=excerpts)
    with atomic_file(scores) as scores_part, atomic_file(report) as report_part:
        write_json(scores_part, {"version": SCHEMA_VERSION} | result)
        report_part.write_text(page, encoding="utf-8")
    return result


def _estimate(
    name: str, scored: LabelledSet, averaging: Averaging, others: Mapping[str, Mapping[str, pd.DataFrame | None]]
) -> dict[str, Any]:
    """Return the number of clips, chance, the estimates of the ensemble, and those of what it is compared to.

    The groups are its `members`, the ensembles `without` one of them, and others by their name.

    Args:
        name: Name of the set of clips.
        scored: The set.
        averaging: How the members are averaged.
        others: For each other system, its scores of the parts "test" and "validation", as far as it has any.
    """
    members = {member: scores for member, scores in scored.systems.items() if member != ENSEMBLE}
    groups = {"members": members, "without": _leave_one_out(members, averaging)}
    for system, tables in others.items():
        table = tables.get("validation" if name == "out_of_fold" else "test")
        if table is not None:
            groups[system] = {system: table.loc[scored.clips].to_numpy()}
    ensemble, estimates = estimate_systems(scored.truth, scored.systems[ENSEMBLE], groups)
    return {"clips": len(scored.clips), "chance": chance(scored.truth), "ensemble": ensemble, **estimates}


def _look_closer(sets: Mapping[str, LabelledSet], classes: list[str], clips: pd.DataFrame) -> dict[str, Any]:
    """Return the score of each class, the worst clips and confusions, on the test clips if they have labels."""
    name = next((name for name in ("all", "out_of_fold") if name in sets), None)
    if name is None:
        return {}
    scored = sets[name]
    system = scored.systems[ENSEMBLE]
    described = describe_classes(scored.truth, scored.systems, ENSEMBLE, clips=scored.clips, classes=classes)
    found = {
        "scored": name,
        "classes": [row | described[row["label"]] for row in estimate_classes(scored.truth, system, classes)],
        "worst": worst_clips(scored.truth, system, scored.clips, classes),
        "confusions": confusions(scored.truth, system, scored.clips, classes),
    }
    seconds = _seconds(clips)
    for row in html.heard_clips(found):
        row["seconds"] = seconds[row["clip"]]
    return found


def _check_thresholds(averaging: Averaging, predictions: Predictions, clips: pd.DataFrame) -> dict[str, Any]:
    """Return what the thresholds and the probabilities keep, if there are any, and what is tagged in disturbances."""
    sets, classes = labelled_sets(predictions, clips, negatives=True), predictions.classes
    disturbances, negatives = disturbance_set(predictions, clips), negative_set(predictions, clips)
    found: dict[str, Any] = {}
    loudest: dict[str, str] = {}
    if disturbances.clips:  # runs of earlier versions have none
        seconds = clips[clips["part"] == "disturbance"].set_index("clip").loc[disturbances.clips, "seconds"]
        found["disturbances"] = describe_false_alarms(disturbances, seconds, classes, sets.get("out_of_fold"))
        loudest = loudest_kinds(disturbances, classes)
    if disturbances.clips and negatives.clips:
        seconds = clips[clips["usage"] == NEGATIVE].set_index("clip").loc[negatives.clips, "seconds"]
        found["disturbances"].append(
            describe_negatives(negatives, seconds, classes, averaging.thresholds, sets.get("out_of_fold"))
        )
    if averaging.calibration and "out_of_fold" in sets:
        found["calibration"] = describe_calibration(averaging.calibration, sets, classes)
        found["thresholds"] = describe_thresholds(
            averaging.thresholds, sets, classes, loudest=loudest, unheard=predictions.unheard
        )
    return found


def _heard(scored: LabelledSet, predictions: Predictions, clips: pd.DataFrame) -> LabelledSet:
    """Return the clips all of whose labels count, because a clip is corrected as a whole."""
    labels = clips[clips["part"] == "curated"].set_index("clip")["labels"]
    return scored.select([clip for clip in scored.clips if set(labels[clip]).isdisjoint(predictions.unheard)])


def _leave_one_out(members: Mapping[str, np.ndarray], averaging: Averaging) -> dict[str, np.ndarray]:
    """Return, for each member, the scores of the ensemble of the other members. The result is empty for one member."""
    without = {}
    for left_out in members if len(members) > 1 else ():
        others = [member for member in members if member != left_out]
        weights = np.array([averaging.weights[member] for member in others])
        if weights.sum():  # if it is 0, this member has all the weight
            scores = np.stack([members[member] for member in others])
            without[left_out] = average(scores, mean=averaging.mean, weights=weights / weights.sum())
    return without


def _read_baseline(path: Path, predictions: Predictions) -> pd.DataFrame:
    classes = predictions.classes
    try:
        table, uneven = read_table(path, ["fname"])
    except TableError as error:
        raise UserError(f"{path}: expected a submission, found that {error.problems[0]}") from error
    if uneven:
        raise UserError(f"{path}: expected a submission, found that {uneven[0]}")
    if set(table.columns) != {"fname", *classes}:
        raise UserError(
            f"{path}: expected a submission with the column fname and the {len(classes)} classes of this run, "
            f"found {len(table.columns)} columns ({', '.join(table.columns[:3])}, ...)"
        )
    table = table.set_index("fname")[classes].apply(pd.to_numeric, errors="coerce").astype(np.float32)
    if table.index.has_duplicates or not np.isfinite(table).all(axis=None):
        raise UserError(
            f"{path}: expected one row per clip and a finite number in every field, found duplicate clips or fields "
            "without a number"
        )
    expected = predictions.rows.loc[predictions.rows["part"] == "test", "clip"].unique()
    missing = pd.Index(expected).difference(table.index)
    if len(missing):
        raise UserError(f"{path}: expected a row for every test clip, found none for {len(missing)}, e.g. {missing[0]}")
    return table


def _excerpts(
    result: Mapping[str, Any], excerpts_of: Callable[[Collection[str]], Mapping[str, Excerpt]]
) -> Mapping[str, Excerpt]:
    """Return the excerpts of the clips that the report lets one hear, after adding to the result what is `heard`."""
    rows = html.heard_clips(result)
    excerpts = excerpts_of({row["clip"] for row in rows})
    for row in rows:
        if row["clip"] in excerpts:
            excerpt = excerpts[row["clip"]]
            row["heard"] = [excerpt.start, excerpt.start + excerpt.seconds]
    return excerpts


def _write_audit(
    folder: Path,
    suspicious: Sequence[Mapping[str, Any]],
    clips: pd.DataFrame,
    classes: list[str],
    *,
    spectrograms: Path,
    excerpts_of: Callable[[Collection[str]], Mapping[str, Excerpt]],
) -> None:
    """Write the table of suspicious clips, and the page to correct the first of them on."""
    write_suspicious(folder / SUSPICIOUS_FILE, suspicious)
    shown = [row["clip"] for row in suspicious[: audit_page.CLIPS_SHOWN]]
    write_audit(
        folder / audit_page.AUDIT_PAGE,
        suspicious,
        seconds=_seconds(clips),
        pictures=_pictures(spectrograms, shown),
        excerpts=excerpts_of(shown),
        classes=classes,
    )


def _seconds(clips: pd.DataFrame) -> dict[str, float]:
    """Return the length of every clip."""
    return dict(zip(clips["clip"], clips["seconds"].astype(float), strict=True))


def _notes(spectrograms: Path, clips: pd.DataFrame, predictions: Predictions) -> list[str]:
    notes = [*read_notes(spectrograms), *describe_alike(read_alike(spectrograms), clips)]
    if predictions.unheard:
        names = ", ".join(predictions.unheard)
        notes.append(
            f"{pluralize(len(predictions.unheard), 'class')} in one fold only, which the models that score it were not "
            f"trained on: left out of the out-of-fold scores, the thresholds and the suspicious labels: {names}"
        )
    return notes


def _pictures(spectrograms: Path, clips: Collection[str]) -> dict[str, np.ndarray]:
    if not clips:
        return {}
    read = read_spectrograms(spectrograms, clips=list(clips))
    pieces = np.split(read.frames, read.offsets[1:-1])
    return dict(zip(read.clips["clip"], pieces, strict=True))
