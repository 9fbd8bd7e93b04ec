"""The ensemble: averages the members' predictions and writes the submission."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from audiotagging.artifacts.averaging import MEANS, Averaging, average
from audiotagging.artifacts.calibration import Calibration, Threshold, calibrate
from audiotagging.artifacts.ensemble_folder import ENSEMBLE, write_ensemble
from audiotagging.artifacts.predictions import PARTS, Predictions, read_predictions
from audiotagging.artifacts.spectrogram_shards import read_classes, read_clips, read_listing
from audiotagging.base.errors import UserError
from audiotagging.ensemble.calibration import fit_calibration
from audiotagging.ensemble.labelled_clips import Gathered, disturbance_set, gather, out_of_fold_set
from audiotagging.ensemble.thresholds import find_min_scores, find_thresholds
from audiotagging.statistics.metrics import lwlrap

SELECTIONS = 50  # number of times that fit_weights picks a member

logger = logging.getLogger(__name__)


def fit_weights(scores: np.ndarray, truth: np.ndarray, *, mean: str) -> np.ndarray:
    """Fit the members' weights to labelled clips that none of them was trained on.

    This is the ensemble selection of Caruana et al., "Ensemble selection from libraries of models", ICML 2004. Each of
    `SELECTIONS` steps adds the member that gives the ensemble of all picks so far the highest lwlrap; a member can be
    picked more than once. The weights are the members' shares of the picks at the step with the highest lwlrap.

    Args:
        scores: Scores in [0, 1], shape (members, clips, classes).
        truth: True where the clip has the label, bool, shape (clips, classes).
        mean: A key of `MEANS`.

    Returns:
        Weights that sum to 1, shape (members,).
    """
    before, _ = MEANS[mean]
    terms = before(scores)
    total = np.zeros(truth.shape)
    counts = np.zeros(len(scores))
    best, weights = -np.inf, counts
    for _ in range(SELECTIONS):
        results = [lwlrap(truth, total + term) for term in terms]
        pick = int(np.argmax(results))
        total += terms[pick]
        counts[pick] += 1
        if results[pick] > best:
            best, weights = results[pick], counts / counts.sum()
    return weights


def ensemble(
    predictions: Sequence[Path],
    *,
    spectrograms: Path,
    out: Path,
    mean: str,
    weights: str,
) -> None:
    """Average the members' predictions and write the submission.

    If folds were held out, a calibration and thresholds are fitted to the out-of-fold scores. The thresholds also lie
    above the scores of the disturbances. Test clips that could not be read score zero in the submission.

    Args:
        predictions: Prediction tables, one per member and fold.
        spectrograms: The folder of shards that they were predicted from.
        out: The folder to write (`audiotagging.artifacts.ensemble_folder`).
        mean: A key of `MEANS`.
        weights: "equal", or "fitted" to the out-of-fold predictions.

    Raises:
        UserError: If the members have different classes or clips, if there are no predictions, or if the weights
            cannot be fitted.
    """
    if weights not in ("equal", "fitted"):
        raise UserError(f"expected the weights 'equal' or 'fitted', found {weights!r}")
    clips = read_clips(spectrograms)
    everything = _read_members(predictions, classes=read_classes(spectrograms), clips=clips)
    members = everything.members
    parts = {part: gather(everything, part=part) for part in PARTS}
    shares = np.full(len(members), 1 / len(members))
    if weights == "fitted":
        shares = _fit_out_of_fold(everything, clips, mean=mean)
    logger.info(
        "weights: %s", ", ".join(f"{member} {share:.2f}" for member, share in zip(members, shares, strict=True))
    )
    averaged = _average_parts(parts, members=members, mean=mean, weights=shares, unheard=everything.unheard)
    calibration, thresholds = _calibrate_out_of_fold(averaged, clips)
    submission = _submission(averaged, read_listing(spectrograms, part="test"), calibration)
    averaging = Averaging(mean, dict(zip(members, shares.tolist(), strict=True)), calibration, thresholds)
    write_ensemble(out, predictions=averaged, submission=submission, averaging=averaging)


def average_members(predictions: Predictions, *, mean: str, weights: Mapping[str, float]) -> Predictions:
    """Return the predictions of an ensemble and its members, from those of its members.

    Args:
        predictions: The members' predictions of at least one clip.
        mean: A key of `MEANS`.
        weights: The weight of every member by its id. They must sum to 1.
    """
    members = predictions.members
    assert set(members) == set(weights)
    parts = {part: gather(predictions, part=part) for part in PARTS}
    shares = np.array([weights[member] for member in members])
    return _average_parts(parts, members=members, mean=mean, weights=shares, unheard=predictions.unheard)


def _read_members(paths: Sequence[Path], *, classes: list[str], clips: pd.DataFrame) -> Predictions:
    """Read all prediction tables into one, and check that they can be averaged."""
    tables = [read_predictions(path) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        _refuse_other_classes(path, table, classes)
        for part, what in (("test", "test clips"), ("disturbance", "disturbances")):
            _refuse_other_clips(path, table, clips["clip"][clips["part"] == part].tolist(), part=part, what=what)
    rows, scores = pd.concat([table.rows for table in tables]), np.concatenate([table.scores for table in tables])
    if rows.duplicated(["clip", "part", "member", "fold"]).any():
        raise UserError(
            f"expected one prediction table per member and fold, found the same predictions twice in "
            f"{', '.join(map(str, paths))[:200]}; pass each table once"
        )
    _refuse_other_validation_clips(rows)
    members = list(dict.fromkeys(member for table in tables for member in table.members))
    unheard = [name for name in classes if any(name in table.unheard for table in tables)]
    return Predictions(classes, rows, scores, members, unheard)


def _average_parts(
    parts: Mapping[str, Gathered], *, members: Sequence[str], mean: str, weights: np.ndarray, unheard: list[str]
) -> Predictions:
    """Return the predictions of the ensemble and of every member, averaged over its folds."""
    rows, scores = [], []
    for part, gathered in parts.items():
        if gathered.clips:
            averaged = average(gathered.scores, mean=mean, weights=weights)
            for member, member_scores in zip([ENSEMBLE, *gathered.members], [averaged, *gathered.scores], strict=True):
                rows.append(pd.DataFrame({"clip": gathered.clips, "part": part, "member": member, "fold": -1}))
                scores.append(member_scores)
    table, averages = pd.concat(rows, ignore_index=True), np.concatenate(scores)
    return Predictions(gathered.classes, table, averages, [ENSEMBLE, *members], unheard)


def _submission(predictions: Predictions, fnames: list[str], calibration: Calibration | None) -> pd.DataFrame:
    rows, classes = predictions.rows, predictions.classes
    chosen = ((rows["part"] == "test") & (rows["member"] == ENSEMBLE)).to_numpy()
    scores = predictions.scores[chosen]
    if calibration and calibration.submitted and len(scores):
        scores = calibrate(scores, [calibration.curves[label] for label in classes])
    table = pd.DataFrame(scores, index=rows.loc[chosen, "clip"], columns=classes)
    return table.reindex(fnames, fill_value=np.float32(0)).rename_axis("fname").reset_index()


def _fit_out_of_fold(predictions: Predictions, clips: pd.DataFrame, *, mean: str) -> np.ndarray:
    scored = out_of_fold_set(predictions, clips)
    if not scored.clips:
        raise UserError(
            "expected out-of-fold predictions to fit the weights to, found none; train with folds, or use equal weights"
        )
    return fit_weights(np.stack([*scored.systems.values()]), scored.truth, mean=mean)


def _calibrate_out_of_fold(
    averaged: Predictions, clips: pd.DataFrame
) -> tuple[Calibration | None, dict[str, list[Threshold]]]:
    """Fit the calibration and the thresholds of the ensemble, if there are out-of-fold predictions."""
    scored = out_of_fold_set(averaged, clips, negatives=True)
    if not scored.clips:
        logger.info("calibration: none, because no fold was held out")
        return None, {}
    scores = scored.systems[ENSEMBLE]
    calibration = fit_calibration(scored.truth, scores, averaged.classes)
    losses = ", ".join(f"{kind} {loss:.4f}" for kind, loss in calibration.log_loss.items())
    submitted = "calibrated" if calibration.submitted else "uncalibrated"
    logger.info("calibration: %s; log loss %s; the submission is %s", calibration.method, losses, submitted)
    made = disturbance_set(averaged, clips)
    min_scores = find_min_scores(made.truth, made.systems[ENSEMBLE]) if made.clips else None
    return calibration, find_thresholds(scored.truth, scores, averaged.classes, min_scores=min_scores)


def _name(table: Predictions, path: Path) -> str:
    names = [f"member {row.member}, fold {row.fold} " for row in table.rows.head(1).itertuples()]
    return f"{''.join(names)}({path})"


def _difference(expected: Sequence[str], found: Sequence[str]) -> str:
    missing, unknown = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if not missing and not unknown:
        return "the same ones in a different order"
    sides = [("missing", missing), ("unknown", unknown)]
    return ", ".join(f"{len(names)} {side} ({', '.join(names[:3])})" for side, names in sides if names)


def _refuse_other_classes(path: Path, table: Predictions, classes: list[str]) -> None:
    if table.classes != classes:
        raise UserError(
            f"{_name(table, path)}: expected the {len(classes)} classes of the spectrograms, found "
            f"{len(table.classes)}: {_difference(classes, table.classes)}; leave this member out, or train it on the "
            "same data"
        )


def _refuse_other_clips(path: Path, table: Predictions, clips: list[str], *, part: str, what: str) -> None:
    found = table.rows.loc[table.rows["part"] == part, "clip"].tolist()
    if sorted(found) != sorted(clips):
        raise UserError(
            f"{_name(table, path)}: expected the {len(clips)} {what} of the spectrograms, found {len(found)}: "
            f"{_difference(clips, found)}; run the predictions again on the same spectrograms"
        )


def _refuse_other_validation_clips(rows: pd.DataFrame) -> None:
    rows = rows.astype({"member": str})
    validated = rows[rows["part"] == "validation"].groupby("member")["clip"].apply(set)
    first, *others = rows["member"].drop_duplicates() if len(rows) else [""]
    expected = validated.get(first, set())
    for member in others:
        found = validated.get(member, set())
        if found != expected:
            raise UserError(
                f"member {member}: expected the {len(expected)} out-of-fold clips of member {first}, found "
                f"{len(found)}: {_difference(list(expected), list(found))}; train every member with the same folds"
            )
