import numpy as np
import pytest

from audiotagging.statistics.intervals import bootstrap, interval


def test_a_mean_has_the_interval_that_theory_gives():
    values = np.random.default_rng(1).normal(5, 2, (2000, 1))
    low, high = interval(bootstrap(values, np.ones_like(values), draws=4000)[:, 0])
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_equals_drawing_clips_one_by_one():
    rng = np.random.default_rng(2)
    labels = rng.integers(1, 4, (30, 1)).astype(float)
    sums = rng.random((30, 3)) * labels
    drawn = np.random.default_rng(7).integers(30, size=(50, 30))  # the same draws, made by hand
    expected = [[sums[clips, system].sum() / labels[clips].sum() for system in range(3)] for clips in drawn]
    assert bootstrap(sums, labels, draws=50, seed=7) == pytest.approx(np.array(expected))


def test_systems_are_paired():
    sums = np.random.default_rng(3).random((500, 1))
    draws = bootstrap(np.hstack([sums, sums - 0.01]), np.ones((500, 1)))
    assert interval(draws[:, 0] - draws[:, 1]) == pytest.approx((0.01, 0.01))
    assert np.ptp(draws[:, 0]) > 0.01


def test_the_interval_leaves_out_as_much_on_either_side():
    assert interval(np.arange(1001)) == pytest.approx((25, 975))
    assert interval(np.arange(1001), level=0.5) == pytest.approx((250, 750))


@pytest.mark.parametrize("seed", range(10))
def test_clips_that_no_draw_takes_count_nothing(seed):
    numerators = np.random.default_rng(1).random((4, 1))
    draws = bootstrap(numerators, np.ones((4, 1)), draws=3, seed=seed)
    assert draws.shape == (3, 1) and numerators.min() <= draws.min() <= draws.max() <= numerators.max()


@pytest.mark.filterwarnings("error")
def test_a_rare_class_that_no_draw_holds_does_not_spoil_the_interval():
    labels = np.zeros((50, 1))
    labels[0] = 1
    draws = bootstrap(0.5 * labels, labels)
    assert np.isnan(draws).any()
    assert interval(draws[:, 0]) == (0.5, 0.5)
