import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss as scikit_log_loss

from audiotagging.artifacts import calibration as artifacts
from audiotagging.artifacts.calibration import Curve, calibrate, logits, sigmoid
from audiotagging.ensemble.calibration import (
    METHODS,
    cross_calibrate,
    fit_calibration,
    fit_curves,
    fit_isotonic,
    fit_platt,
    log_loss,
)
from audiotagging.statistics.metrics import calibration_error


def draw(seed, clips=400, classes=3, *, distort=lambda logit: logit):
    """Return labels that have the probabilities p, and scores that a system would give if it distorted p."""
    rng = np.random.default_rng(seed)
    true = rng.normal(-1.5, 2, (clips, classes))
    truth = rng.random(true.shape) < sigmoid(true)
    return truth, sigmoid(distort(true)).astype(np.float32), sigmoid(true)


def smoothed(labels):
    """Platt's targets, as in section 2.2 of his paper."""
    positives, negatives = labels.sum(), len(labels) - labels.sum()
    return np.array([(positives + 1) / (positives + 2) if label else 1 / (negatives + 2) for label in labels])


def apply(curve, scores):
    return calibrate(scores[:, None], [curve])[:, 0]


@given(st.integers(1, 80), st.integers(0, 2**32 - 1))
def test_isotonic_equals_scikit_learn_also_with_ties(clips, seed):
    rng = np.random.default_rng(seed)
    scores = rng.choice(np.linspace(0.05, 0.95, 12), clips).astype(np.float32)
    labels = rng.random(clips) < scores
    expected = IsotonicRegression().fit_transform(scores, smoothed(labels))
    assert apply(fit_isotonic(scores, labels), scores) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_platt_is_the_regression_of_the_smoothed_labels(seed):
    truth, scores, _ = draw(seed, 60, 1)
    labels, scores = truth[:, 0], scores[:, 0]
    # Scikit-learn takes no soft targets, but every clip can be there twice, with a weight for each label.
    values, targets = logits(scores)[:, None], smoothed(labels)
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    reference.fit(np.tile(values, (2, 1)), np.repeat([1, 0], 60), sample_weight=np.concatenate([targets, 1 - targets]))
    expected = reference.predict_proba(values)[:, 1]
    assert apply(fit_platt(scores, labels), scores) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("positives", [0, 1, 20, 39, 40])
def test_platt_is_finite_for_scores_that_separate_the_labels(positives):
    labels = np.arange(40) >= 40 - positives
    scores = np.where(labels, 0.9, 0.1).astype(np.float32) + np.linspace(0, 1e-3, 40, dtype=np.float32)
    line = minimize(
        lambda line: (np.logaddexp(0, z := line[0] * logits(scores) + line[1]) - smoothed(labels) * z).sum(),
        (0.0, 0.0), bounds=[(0, None), (None, None)], tol=1e-12,
    ).x  # fmt: skip
    expected = sigmoid(line[0] * logits(scores) + line[1])
    assert apply(fit_platt(scores, labels), scores) == pytest.approx(expected, abs=1e-3)


def test_the_methods_are_those_that_can_be_read():
    assert tuple(METHODS) == artifacts.METHODS


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(4))
def test_curves_never_fall_even_if_the_scores_mislead(method, seed):
    truth, scores, _ = draw(seed, 80, distort=lambda logit: -logit)
    grid = np.repeat(np.linspace(0, 1, 200, dtype=np.float32)[:, None], 3, axis=1)
    found = calibrate(grid, fit_curves(truth, scores, method=method))
    assert (np.diff(found, axis=0) >= 0).all()
    assert ((found > 0) & (found < 1)).all()


@pytest.mark.parametrize("method", METHODS)
def test_distorted_scores_become_the_probabilities_again(method):
    truth, scores, _ = draw(1, 20_000, distort=lambda logit: 0.4 * logit - 1)
    curves = fit_curves(truth, scores, method=method)
    fresh_truth, fresh_scores, fresh = draw(2, 20_000, distort=lambda logit: 0.4 * logit - 1)
    found = calibrate(fresh_scores, curves)
    assert np.abs(found - fresh).mean() < 0.02
    assert calibration_error(fresh_truth, found) < 0.01 < 0.05 < calibration_error(fresh_truth, fresh_scores)


@pytest.mark.parametrize("method", METHODS)
def test_a_class_with_few_clips_uses_what_is_known_of_all_classes(method):
    truth, scores, _ = draw(3, 500, 6, distort=lambda logit: 0.4 * logit - 1)
    truth[:, 0] = False
    truth[np.argsort(scores[:, 0])[:1], 0] = True  # a single clip, whose score is the lowest
    few, *_ = fit_curves(truth, scores, method=method)
    alone, pooled = METHODS[method](scores[:, 0], truth[:, 0]), METHODS[method](scores.ravel(), truth.ravel())
    high = np.array([0.6], np.float32)
    assert abs(apply(few, high) - apply(pooled, high)) < 0.1 * abs(apply(alone, high) - apply(pooled, high))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("positives", "share"), [(10, 0.2), (40, 0.5), (120, 0.75)])
def test_the_more_clips_a_class_has_the_more_its_own_curve_counts(method, positives, share):
    truth, scores, _ = draw(6, 400, 3, distort=lambda logit: 0.4 * logit - 1)
    truth[:, 1] = False
    truth[np.argsort(-scores[:, 1])[: 3 * positives : 3], 1] = True
    mixed = fit_curves(truth, scores, method=method)[1]
    own, shared = METHODS[method](scores[:, 1], truth[:, 1]), METHODS[method](scores.ravel(), truth.ravel())
    expected = share * logits(apply(own, scores[:, 1])) + (1 - share) * logits(apply(shared, scores[:, 1]))
    assert logits(apply(mixed, scores[:, 1])) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("distort", "method"),
    [
        (lambda logit: 0.4 * logit - 1, "platt"),
        (lambda logit: np.where(logit > -1, 3 + 0.01 * logit, logit), "isotonic"),
    ],
)
def test_the_method_that_fits_is_chosen_by_the_log_loss_of_clips_it_was_not_fitted_to(distort, method):
    truth, scores, _ = draw(4, 1500, 4, distort=distort)
    calibration = fit_calibration(truth, scores, list("abcd"))
    assert calibration.method == method
    assert calibration.log_loss[method] == min(calibration.log_loss.values())
    assert calibration.log_loss["uncalibrated"] == pytest.approx(scikit_log_loss(truth.ravel(), scores.ravel()))
    fresh_truth, fresh_scores, _ = draw(5, 1500, 4, distort=distort)
    found = log_loss(fresh_truth, calibrate(fresh_scores, list(calibration.curves.values())))
    assert found == pytest.approx(calibration.log_loss[method], rel=0.1)


@pytest.mark.parametrize(("seed", "method"), [(4, "platt"), (5, "platt"), (9, "isotonic"), (11, "isotonic")])
def test_steps_are_used_only_if_their_log_loss_is_clearly_lower(seed, method):
    truth, scores, _ = draw(seed, 120, 4, distort=lambda logit: np.where(logit > -1, 1 + 0.3 * logit, logit))
    calibration = fit_calibration(truth, scores, list("abcd"))
    assert calibration.log_loss["isotonic"] < calibration.log_loss["platt"]
    crossed = [cross_calibrate(truth, scores, method=each) for each in METHODS]
    line, steps = (
        np.array([scikit_log_loss(row, clip, labels=[0, 1]) for row, clip in zip(truth, each, strict=True)])
        for each in crossed
    )
    picks = np.random.default_rng(1).integers(120, size=(4000, 120))
    is_clear = np.percentile((steps - line)[picks].mean(axis=1), 97.5) < 0
    assert calibration.method == method == ("isotonic" if is_clear else "platt")


def test_a_curve_is_linear_between_its_logits_and_constant_outside():
    curve = Curve([-1.0, 1.0], [-2.0, 4.0])
    scores = sigmoid(np.array([-30.0, -1, 0, 0.5, 1, 30])).astype(np.float32)
    assert logits(apply(curve, scores)) == pytest.approx([-2, -2, 1, 2.5, 4, 4], abs=1e-5)
