import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

from audiotagging.base.errors import UserError
from audiotagging.statistics.metrics import (
    average_precisions,
    calibration_bins,
    calibration_error,
    chance,
    lwlrap,
    mean_average_precision,
)


@given(st.integers(1, 30), st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_lwlrap_equals_scikit_learn_also_with_ties(clips, classes, seed):
    rng = np.random.default_rng(seed)
    truth = rng.random((clips, classes)) < 0.3
    truth[0, 0] = True
    scores = rng.integers(0, 5, (clips, classes)).astype(np.float32)  # few values: many ties
    expected = label_ranking_average_precision_score(truth, scores, sample_weight=truth.sum(axis=1))
    assert lwlrap(truth, scores) == pytest.approx(expected)


def test_clips_without_labels_do_not_count():
    truth = np.array([[True, False], [False, False]])
    scores = np.array([[0.2, 0.9], [0.5, 0.1]])
    assert lwlrap(truth, scores) == 0.5


def test_nothing_to_score_is_an_error():
    with pytest.raises(UserError, match="expected at least one clip with a label"):
        lwlrap(np.zeros((2, 3), bool), np.zeros((2, 3)))


@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_average_precisions_equal_scikit_learn_also_with_ties(clips, classes, seed):
    rng = np.random.default_rng(seed)
    truth = rng.random((clips, classes)) < 0.3
    truth[0, 0] = True
    scores = rng.integers(0, 5, (clips, classes)).astype(np.float32)
    found = average_precisions(truth, scores)
    present = truth.any(axis=0)
    assert np.isnan(found[~present]).all()
    assert found[present] == pytest.approx(average_precision_score(truth[:, present], scores[:, present], average=None))
    expected = average_precision_score(truth[:, present], scores[:, present], average="macro")
    assert mean_average_precision(truth, scores) == pytest.approx(expected)


@given(st.integers(1, 300), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_the_calibration_error_is_that_of_scikit_learns_calibration_curve(clips, classes, seed):
    rng = np.random.default_rng(seed)
    probabilities = rng.random((clips, classes)) ** 3
    truth = rng.random((clips, classes)) < probabilities**2
    shares, means = calibration_curve(truth.ravel(), probabilities.ravel(), n_bins=15)
    counts, _ = np.histogram(probabilities, np.linspace(0, 1, 16))
    found = {
        key: [row[key] for row in calibration_bins(truth, probabilities)] for key in ("probability", "share", "pairs")
    }
    assert [found["share"], found["probability"]] == [pytest.approx(shares), pytest.approx(means)]
    assert found["pairs"] == counts[counts > 0].tolist()
    expected = (counts[counts > 0] * abs(shares - means)).sum() / truth.size
    assert calibration_error(truth, probabilities) == pytest.approx(expected)


@pytest.mark.parametrize("classes", [1, 2, 5, 20])
def test_chance_is_the_mean_of_random_scores(classes):
    rng = np.random.default_rng(classes)
    truth = rng.random((12, classes)) < 0.4
    truth[0, 0] = True
    drawn = [lwlrap(truth, rng.random(truth.shape)) for _ in range(4000)]
    assert chance(truth) == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / 4000**0.5 + 1e-12)
