import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.fabricated import PLAIN, fabricate_run, predictions_of, rescore
from scipy.stats import rankdata

from audiotagging.artifacts.averaging import average
from audiotagging.artifacts.calibration import calibrate
from audiotagging.artifacts.ensemble_folder import read_ensemble
from audiotagging.artifacts.predictions import Predictions, read_predictions, write_predictions
from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.base.errors import UserError
from audiotagging.ensemble.calibration import fit_calibration
from audiotagging.ensemble.ensembling import ensemble, fit_weights
from audiotagging.ensemble.labelled_clips import gather
from audiotagging.ensemble.thresholds import MARGIN, find_thresholds
from audiotagging.members import REFERENCE
from audiotagging.statistics.metrics import label_table, lwlrap


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return fabricate_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def out(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("ensemble") / "out"
    ensemble(predictions_of(run), spectrograms=run / "spectrograms", out=out, **PLAIN)
    return out


def test_fitted_weights_find_the_members_that_help():
    rng = np.random.default_rng(5)
    truth = rng.random((400, 10)) < 0.15
    noise = rng.normal(0, 1, (4, 400, 10))
    noise[3] *= 20  # a member that knows nothing
    scores = 1 / (1 + np.exp(-(2 * truth + noise)))
    weights = fit_weights(scores, truth, mean="arithmetic")
    assert weights.sum() == pytest.approx(1)
    assert weights[3] == weights.min() < 0.1
    fitted = lwlrap(truth, average(scores, mean="arithmetic", weights=weights))
    plain = lwlrap(truth, average(scores, mean="arithmetic"))
    assert fitted >= max(plain, *(lwlrap(truth, member) for member in scores))


def ensemble_selection(terms, truth, picks=50):
    """Return the shares of the best of the ensembles that Caruana et al. 2004 grow, member by member."""
    chosen, best, best_score = [], [], -np.inf
    for _ in range(picks):
        results = [lwlrap(truth, sum(terms[member] for member in [*chosen, extra])) for extra in range(len(terms))]
        chosen.append(results.index(max(results)))
        if max(results) > best_score:
            best, best_score = list(chosen), max(results)
    return np.bincount(best, minlength=len(terms)) / len(best)


TERMS = {
    "arithmetic": lambda scores: scores.astype(float),
    "geometric": lambda scores: np.log(scores.astype(float)),
    "rank": lambda scores: np.array([rankdata(member, axis=1) / 6 for member in scores]),
}


@pytest.fixture(scope="module")
def opinions():
    """Scores of three members whose weights differ with the mean: they differ in how sure they are of themselves."""
    rng = np.random.default_rng(11)
    truth = rng.random((150, 6)) < 0.25
    logits = 1.2 * truth + rng.normal(0, 1, (3, 150, 6))
    logits *= np.array([0.3, 1.0, 5.0])[:, None, None]
    return (1 / (1 + np.exp(-logits))).astype(np.float32), truth


@pytest.mark.parametrize("mean", TERMS)
def test_weights_are_fitted_to_the_mean_that_is_taken(opinions, mean):
    scores, truth = opinions
    weights = fit_weights(scores, truth, mean=mean)
    assert weights == pytest.approx(ensemble_selection(TERMS[mean](scores), truth))
    others = [fit_weights(scores, truth, mean=other) for other in TERMS if other != mean]
    assert not any(np.allclose(weights, other) for other in others)


def test_predictions_hold_the_mean_of_folds_and_of_members(run, out):
    found = read_predictions(out / "predictions.parquet")
    frames = []
    for path in predictions_of(run):
        table = read_predictions(path)
        frames.append(table.rows.astype({"member": str}).join(pd.DataFrame(table.scores)))
    by_member = pd.concat(frames).drop(columns="fold").groupby(["part", "clip", "member"]).mean()
    expected = pd.concat([by_member.reset_index(), by_member.groupby(["part", "clip"]).mean().reset_index()])
    expected["member"] = expected["member"].fillna("ensemble")
    rows = found.rows.astype({"member": str, "part": str})
    assert (rows.pop("fold") == -1).all()
    columns = ["part", "clip", "member"]
    merged = rows.join(pd.DataFrame(found.scores)).merge(expected, on=columns, suffixes=("", " expected"))
    assert len(merged) == len(rows) == len(expected)
    classes = range(len(found.classes))
    assert merged[[f"{c}" for c in classes]].to_numpy() == pytest.approx(
        merged[[f"{c} expected" for c in classes]].to_numpy(), rel=1e-5
    )


def test_the_submission_has_every_test_clip_and_loses_no_digit(run, out):
    submission = pd.read_csv(out / "submission.csv", dtype={"fname": str})
    clips = read_clips(run / "spectrograms").query("part == 'test'")["clip"].tolist()
    assert submission["fname"].tolist() == ["test-first.wav", *clips[:20], "test-broken.wav", *clips[20:]]
    written = submission.iloc[:, 1:].to_numpy().astype(np.float32)
    assert (written[[0, 21]] == 0).all()
    ensembled = gather(read_predictions(out / "predictions.parquet"), part="test")
    order = pd.Index(ensembled.clips).get_indexer(clips)
    assert submission.columns[1:].tolist() == ensembled.classes
    assert np.array_equal(np.delete(written, [0, 21], axis=0), ensembled.scores[0][order])


@pytest.mark.parametrize("mean", TERMS)
def test_fitted_weights_are_written_and_used(run, tmp_path, mean):
    options = {"mean": mean, "weights": "fitted"}
    ensemble(predictions_of(run), spectrograms=run / "spectrograms", out=tmp_path / "out", **options)
    settings = json.loads((tmp_path / "out" / "ensemble.json").read_text())
    assert settings["mean"] == mean and set(settings["weights"]) == {member.id for member in REFERENCE[:3]}
    weights = np.array(list(settings["weights"].values()))
    assert weights.sum() == pytest.approx(1) and weights.std() > 0.01
    predictions = read_predictions(tmp_path / "out" / "predictions.parquet")
    scores = gather(predictions, part="test").scores
    assert scores[0] == pytest.approx(average(scores[1:], mean=mean, weights=weights), abs=1e-6)
    held_out = gather(predictions, part="validation")
    labels = read_clips(run / "spectrograms").set_index("clip").loc[held_out.clips, "labels"]
    truth = np.array([[name in names for name in held_out.classes] for names in labels])
    assert weights == pytest.approx(fit_weights(held_out.scores[1:], truth, mean=mean))


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    run = fabricate_run(tmp_path_factory.mktemp("many"), clips=300)
    ensemble(predictions_of(run), spectrograms=run / "spectrograms", out=run / "out", **PLAIN)
    return run


def test_what_is_calibrated_are_the_out_of_fold_scores_of_the_ensemble(calibrated):
    predictions, averaging = read_ensemble(calibrated / "out")
    clips = read_clips(calibrated / "spectrograms")
    labels = clips.set_index("clip")["labels"]
    rows = predictions.rows
    chosen = ((rows["part"] == "validation") & (rows["member"] == "ensemble")).to_numpy()
    truth = label_table(labels.loc[rows.loc[chosen, "clip"]].tolist(), predictions.classes)
    scores = predictions.scores[chosen]
    assert averaging.calibration == fit_calibration(truth, scores, predictions.classes)
    assert averaging.thresholds == find_thresholds(truth, scores, predictions.classes)
    assert any(averaging.thresholds.values())


def test_thresholds_lie_above_the_disturbances_without_the_label(calibrated, tmp_path):
    """One class scores high in noise, another in the quiet end of a clip with this label."""
    _, before = read_ensemble(calibrated / "out")
    lowest = before.lowest_scores(0.8)
    labels = read_clips(calibrated / "spectrograms").set_index("clip")["labels"]
    quiet_ends = {labels[name][0]: name for name in labels.index if name.startswith("quiet-end")}
    right = next(label for label in quiet_ends if label in lowest)
    noisy = next(label for label in lowest if label != right)
    quiet, threshold = quiet_ends[right], lowest[noisy]
    shutil.copytree(calibrated / "predictions", tmp_path / "predictions")
    rescore(tmp_path, "white-noise-3", noisy, threshold)
    rescore(tmp_path, quiet, right, 1)
    ensemble(predictions_of(tmp_path), spectrograms=calibrated / "spectrograms", out=tmp_path / "out", **PLAIN)
    _, after = read_ensemble(tmp_path / "out")
    raised = {label for label in lowest if after.thresholds[label] != before.thresholds[label]}
    assert raised == {noisy}
    floor = 1 / (1 + (1 - threshold) / threshold * np.exp(-MARGIN))
    assert after.lowest_scores(0.8).get(noisy, 1) > floor
    assert after.calibration == before.calibration
    assert (tmp_path / "out" / "submission.csv").read_bytes() == (calibrated / "out" / "submission.csv").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["calibration"].update(method="beta"), "expected method to be one of platt, isotonic"),
        (lambda content: content["calibration"]["curves"].popitem(), "the curve and the thresholds of every class"),
        (lambda content: content["thresholds"].popitem(), "the curve and the thresholds of every class"),
        (lambda content: content.update(calibration=None), "the curve and the thresholds of every class"),
        (lambda content: _first_curve(content)["scores"].reverse(), "expected a curve with ascending scores"),
        (lambda content: _first_curve(content)["probabilities"].reverse(), "expected a curve with ascending scores"),
        (lambda content: _first_curve(content)["scores"].pop(), "expected a curve with one probability per score"),
        (lambda content: _first_curve(content).update(scores=[], probabilities=[]), "found 0 scores"),
        (
            lambda content: _first_threshold(content).update(low=0.5),
            "expected a threshold with a precision of at least",
        ),
        (
            lambda content: _first_threshold(content).update(recall=0),
            "expected a threshold with a precision of at least",
        ),
        (lambda content: _first_threshold(content).update(score="high"), 'to be a number, found "high"'),
        (lambda content: _rename_a_class(content), "expected the calibration of 8 classes"),
    ],
)
def test_a_calibration_that_makes_no_sense_is_refused(calibrated, tmp_path, change, message):
    shutil.copytree(calibrated / "out", tmp_path / "out")
    content = json.loads((calibrated / "out" / "ensemble.json").read_text())
    change(content)
    (tmp_path / "out" / "ensemble.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"ensemble.json: .*{message}"):
        read_ensemble(tmp_path / "out")


def _first_curve(content):
    return next(iter(content["calibration"]["curves"].values()))


def _first_threshold(content):
    return next(each for thresholds in content["thresholds"].values() for each in thresholds)


def _rename_a_class(content):
    for table in (content["calibration"]["curves"], content["thresholds"]):
        table["Other"] = table.pop("Class_001")


@pytest.mark.parametrize("helps", [True, False])
def test_the_submission_is_calibrated_if_that_ranks_the_classes_better(calibrated, tmp_path, helps):
    """Members that are too sure of one class put it on top of every clip."""
    run = shutil.copytree(calibrated, tmp_path / "run")
    for path in predictions_of(run):
        table = read_predictions(path)
        if helps:
            table = replace(table, scores=table.scores ** np.where(np.arange(8) == 3, 0.2, 1).astype(np.float32))
        write_predictions(path, table)
    ensemble(predictions_of(run), spectrograms=run / "spectrograms", out=tmp_path / "out", **PLAIN)
    predictions, averaging = read_ensemble(tmp_path / "out")
    assert averaging.calibration.submitted == helps
    submission = pd.read_csv(tmp_path / "out" / "submission.csv").set_index("fname")
    tested = gather(predictions, part="test")
    expected = tested.scores[0]
    if helps:
        expected = calibrate(expected, [averaging.calibration.curves[label] for label in predictions.classes])
    assert submission.loc[tested.clips].to_numpy() == pytest.approx(expected, abs=1e-6)
    assert (submission.loc[["test-first.wav", "test-broken.wav"]] == 0).all(axis=None)
    labels = read_clips(run / "spectrograms").set_index("clip")["labels"]
    truth = label_table(labels.loc[tested.clips].tolist(), predictions.classes)
    if helps:
        assert lwlrap(truth, expected) > lwlrap(truth, tested.scores[0]) + 0.01


def test_without_folds_there_is_no_calibration(tmp_path):
    run = fabricate_run(tmp_path, folds=[-1])
    ensemble(predictions_of(run), spectrograms=run / "spectrograms", out=tmp_path / "out", **PLAIN)
    _, averaging = read_ensemble(tmp_path / "out")
    assert averaging.calibration is None and averaging.thresholds == {}


def test_without_folds_there_is_nothing_to_fit(tmp_path):
    run = fabricate_run(tmp_path, folds=[-1], members=REFERENCE[:1])
    with pytest.raises(UserError, match="expected out-of-fold predictions"):
        ensemble(
            predictions_of(run),
            spectrograms=run / "spectrograms",
            out=tmp_path / "out",
            **PLAIN | {"weights": "fitted"},
        )
    assert not (tmp_path / "out").exists()


def _rewrite(path, change):
    table = read_predictions(path)
    write_predictions(path, change(table))


def _without_a_class(table):
    return Predictions(table.classes[:-1], table.rows, np.ascontiguousarray(table.scores[:, :-1]))


def _with_a_class(table):
    scores = np.concatenate([table.scores, table.scores[:, :1]], axis=1)
    return Predictions([*table.classes, "Cowbell"], table.rows, scores)


def _with_reversed_classes(table):
    return Predictions(table.classes[::-1], table.rows, table.scores)


def _with_one_row(table):
    return Predictions(table.classes, table.rows[:1], table.scores[:1])


def _with_four_other_clips(table):
    test = np.flatnonzero(table.rows["part"] == "test")[:4]
    rows = table.rows.copy()
    rows.loc[test, "clip"] = [f"other{number}" for number in range(4)]
    return Predictions(table.classes, rows, table.scores)


def _without_folds(table):
    keep = (table.rows["part"] != "validation").to_numpy()
    return Predictions(table.classes, table.rows[keep], table.scores[keep])


def _without(part):
    def change(table):
        keep = np.ones(len(table.rows), bool)
        keep[np.flatnonzero(table.rows["part"] == part)[0]] = False
        return Predictions(table.classes, table.rows[keep].reset_index(drop=True), table.scores[keep])

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without_a_class, "expected the 8 classes of the spectrograms, found 7: 1 missing .Class_007.;"),
        (_with_a_class, "expected the 8 classes of the spectrograms, found 9: 1 unknown .Cowbell.;"),
        (_with_reversed_classes, "expected the 8 classes .*, found 8: the same ones in a different order;"),
        (_with_one_row, "expected the 40 test clips of the spectrograms, found 0: 40 missing"),
        (_without("test"), "expected the 40 test clips of the spectrograms, found 39: 1 missing"),
        (_without("disturbance"), "expected the 16 disturbances of the spectrograms, found 15: 1 missing"),
        (
            _with_four_other_clips,
            r"expected the 40 test clips .*, found 40: 4 missing \(test[^,]*, test[^,]*, test[^,]*\), 4 unknown "
            r"\(other0, other1, other2\);",
        ),
    ],
)
def test_a_member_that_differs_is_named(tmp_path, change, message):
    run = fabricate_run(tmp_path)
    path = run / "predictions" / f"{REFERENCE[1].id}-fold1.parquet"
    _rewrite(path, change)
    with pytest.raises(UserError, match=rf"^member {REFERENCE[1].id}, fold 1 \({path}\): {message}"):
        ensemble(predictions_of(run), spectrograms=run / "spectrograms", out=tmp_path / "out", **PLAIN)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        (2, _without("validation"), "{2}: expected the 20 out-of-fold clips of member {0}, found 19: 1 missing"),
        (1, _without_folds, "{1}: expected the 20 out-of-fold clips of member {0}, found 0: 20 missing"),
        (0, _without_folds, "{1}: expected the 0 out-of-fold clips of member {0}, found 20: 20 unknown"),
    ],
)
def test_members_with_other_folds_are_named(tmp_path, place, change, message):
    run = fabricate_run(tmp_path, folds=[0])
    ids = sorted(member.id for member in REFERENCE[:3])
    _rewrite(run / "predictions" / f"{ids[place]}-fold0.parquet", change)
    with pytest.raises(UserError, match="^member " + message.format(*ids)):
        ensemble(predictions_of(run), spectrograms=run / "spectrograms", out=tmp_path / "out", **PLAIN)


def test_members_may_all_be_trained_on_everything(tmp_path):
    run = fabricate_run(tmp_path, folds=[-1])
    ensemble(predictions_of(run), spectrograms=run / "spectrograms", out=tmp_path / "out", **PLAIN)
    assert set(read_predictions(tmp_path / "out" / "predictions.parquet").rows["part"]) == {"test", "disturbance"}
