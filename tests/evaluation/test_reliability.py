import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import precision_score, recall_score

from audiotagging.artifacts.calibration import TARGET_PRECISIONS, sigmoid
from audiotagging.ensemble.calibration import cross_calibrate, fit_calibration
from audiotagging.ensemble.labelled_clips import LabelledSet
from audiotagging.ensemble.thresholds import find_thresholds
from audiotagging.evaluation.reliability import describe_calibration, describe_thresholds
from audiotagging.statistics.metrics import calibration_error, lwlrap

CLASSES = ["good", "poor", "rare"]


def draw(seed, clips):
    rng = np.random.default_rng(seed)
    truth = rng.random((clips, 3)) < (0.3, 0.3, 0.01)
    truth[0] = True
    evidence = truth * (5, 1, 5) - 2 + rng.normal(0, 1, truth.shape)
    return LabelledSet([], truth, {"ensemble": sigmoid(0.5 * evidence - 1).astype(np.float32)})


@pytest.fixture(scope="module")
def sets():
    return {"all": draw(1, 500), "out_of_fold": draw(2, 500)}


@pytest.fixture(scope="module")
def fitted(sets):
    truth, scores = sets["out_of_fold"].truth, sets["out_of_fold"].systems["ensemble"]
    return fit_calibration(truth, scores, CLASSES), find_thresholds(truth, scores, CLASSES)


def test_calibrated_scores_are_compared_with_those_of_before(sets, fitted):
    described = describe_calibration(fitted[0], sets, CLASSES)
    for name, scored in sets.items():
        found, scores = described["sets"][name], scored.systems["ensemble"]
        assert found["uncalibrated"]["error"] == calibration_error(scored.truth, scores)
        assert found["uncalibrated"]["lwlrap"] == lwlrap(scored.truth, scores)
        assert found["calibrated"]["error"] < 0.5 * found["uncalibrated"]["error"]
        for kind in found.values():
            assert sum(row["pairs"] for row in kind["bins"]) == scores.size
    probabilities = cross_calibrate(sets["out_of_fold"].truth, scores, method=described["method"])
    assert described["sets"]["out_of_fold"]["calibrated"]["lwlrap"] == lwlrap(scored.truth, probabilities)


def test_promises_are_compared_with_what_the_tags_that_pass_keep(sets, fitted):
    _, thresholds = fitted
    described = describe_thresholds(thresholds, sets, CLASSES, loudest={})
    assert [row["promised"] for row in described["promises"]] == list(TARGET_PRECISIONS)
    for row in described["promises"]:
        ends = {label: t.score for label in CLASSES for t in thresholds[label] if t.promised == row["promised"]}
        assert row["classes"] == len(ends) >= 1
        for name, scored in sets.items():
            passed = np.zeros(scored.truth.shape, bool)
            for label, end in ends.items():
                column = CLASSES.index(label)
                passed[:, column] = scored.systems["ensemble"][:, column] >= end
            observed = row["sets"][name]
            assert observed["tags"] == passed.sum()
            assert observed["precision"] == pytest.approx(precision_score(scored.truth.ravel(), passed.ravel()))
            assert observed["recall"] == pytest.approx(recall_score(scored.truth.ravel(), passed.ravel()))
            right = int((passed & scored.truth).sum())
            ends_of_share = binomtest(right, int(passed.sum())).proportion_ci(0.95, method="wilson")
            assert [observed["low"], observed["high"]] == pytest.approx([*ends_of_share])


def test_a_promise_that_cannot_be_made_has_a_reason(sets, fitted):
    rows = {row["label"]: row for row in describe_thresholds(fitted[1], sets, CLASSES, loudest={})["classes"]}
    assert {row["label"]: row["clips"] for row in rows.values()} == dict(
        zip(CLASSES, sets["out_of_fold"].truth.sum(axis=0), strict=True)
    )
    reasons = {label: [promise.get("reason") for promise in row["promises"]] for label, row in rows.items()}
    assert reasons["good"] == [None] * 3
    assert reasons["poor"][1:] == ["too imprecise"] * 2
    assert reasons["rare"][1:] == ["too few clips"] * 2
    assert all([promise["promised"] for promise in row["promises"]] == list(TARGET_PRECISIONS) for row in rows.values())


NOISE = dict.fromkeys(CLASSES, "white noise")


def test_no_tags_have_no_precision(sets):
    rows = describe_thresholds({label: [] for label in CLASSES}, sets, CLASSES, loudest=NOISE)["promises"]
    assert all(observed == {"tags": 0, "recall": 0} for row in rows for observed in row["sets"].values())


def test_a_threshold_that_was_raised_says_by_what_and_from_where(sets, fitted):
    truth, scores = sets["out_of_fold"].truth, sets["out_of_fold"].systems["ensemble"]
    _, before = fitted
    lowest, *_, highest = before["good"]
    floor = (lowest.score + highest.score) / 2
    after = find_thresholds(truth, scores, CLASSES, min_scores=np.array([floor, np.inf, np.inf]))
    first, *_, last = describe_thresholds(after, sets, CLASSES, loudest=NOISE)["classes"][0]["promises"]
    assert first["before"] == lowest.score < floor < first["score"] and first["above"] == "white noise"
    assert last["score"] == highest.score and "before" not in last


def test_a_class_that_noise_leaves_without_thresholds_says_so(sets, fitted):
    lost = {label: [] for label in CLASSES}
    good, *others = describe_thresholds(lost, sets, CLASSES, loudest=NOISE)["classes"]
    assert good["promises"] == [
        {"promised": each.promised, "reason": "not above white noise", "before": each.score, "above": "white noise"}
        for each in fitted[1]["good"]
    ]
    assert all(promise["reason"].startswith("too ") for row in others for promise in row["promises"])
