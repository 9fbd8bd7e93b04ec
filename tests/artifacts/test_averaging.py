import numpy as np
import pytest
from scipy.stats import gmean, rankdata

from audiotagging.artifacts.averaging import average
from audiotagging.base.errors import UserError

SCORES = np.random.default_rng(1).integers(1, 8, (4, 20, 6)).astype(np.float32) / 8  # few values: many ties


@pytest.mark.parametrize(
    ("mean", "expected"),
    [
        ("arithmetic", SCORES.mean(axis=0)),
        ("geometric", gmean(SCORES, axis=0)),
        ("rank", np.mean([rankdata(member, axis=1) / 6 for member in SCORES], axis=0)),
    ],
)
def test_means(mean, expected):
    averaged = average(SCORES, mean=mean)
    assert averaged.dtype == np.float32
    assert averaged == pytest.approx(expected, rel=1e-6)
    weighted = average(SCORES, mean=mean, weights=np.array([0.5, 0.5, 0, 0]))
    assert weighted == pytest.approx(average(SCORES[:2], mean=mean))


def test_geometric_mean_of_a_zero_keeps_the_order_of_the_others():
    scores = np.array([[[0.0, 0.0, 0.3]], [[0.2, 0.1, 0.3]]], np.float32)
    assert np.argsort(average(scores, mean="geometric")[0]).tolist() == [1, 0, 2]


def test_geometric_mean_of_small_scores_is_exact_to_the_last_digit():
    scores = 10 ** np.random.default_rng(2).uniform(-30, 0, (5, 20, 6)).astype(np.float32)
    assert average(scores, mean="geometric") == pytest.approx(gmean(scores.astype(float), axis=0), rel=1e-7, abs=0)


def test_an_unknown_mean_is_refused():
    with pytest.raises(UserError, match="arithmetic, geometric, rank, found 'harmonic'"):
        average(SCORES, mean="harmonic")
