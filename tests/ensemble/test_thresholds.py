import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from sklearn.metrics import precision_score, recall_score

from audiotagging.ensemble.thresholds import (
    ERROR,
    TARGET_PRECISIONS,
    chances_of,
    clopper_pearson,
    fewest_clips,
    find_min_scores,
    find_thresholds,
    lowest_scores,
    wilson,
)


@given(st.integers(1, 500), st.floats(0, 1), st.sampled_from([0.6, 0.8, 0.95]))
def test_wilson_equals_scipy(clips, share, level):
    right = round(share * clips)
    expected = binomtest(right, clips).proportion_ci(level, method="wilson")
    low, high = wilson(np.array([right]), np.array([clips]), level=level)
    assert [low[0], high[0]] == pytest.approx([expected.low, expected.high], abs=1e-9)


def exact(right, clips):
    """The interval of which each end is wrong with a probability of 10 %."""
    return binomtest(int(right), int(clips)).proportion_ci(0.8, method="exact")


@given(st.integers(1, 500), st.floats(0, 1))
def test_clopper_pearson_equals_scipy(clips, share):
    right = round(share * clips)
    expected = exact(right, clips)
    assert clopper_pearson(right, clips) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("promised", TARGET_PRECISIONS)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.97, 1.0])
def test_chances_are_those_of_the_binomial_distribution(promised, share):
    labels = np.random.default_rng(1).random(20_000) < share
    expected = binom.sf(labels.cumsum() - 1, np.arange(1, len(labels) + 1), promised)
    assert chances_of(labels, precision=promised) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("promised", TARGET_PRECISIONS)
def test_fewest_clips_is_the_first_number_that_can_keep_a_promise(promised):
    fewest = fewest_clips(promised)
    assert exact(fewest - 1, fewest - 1).low < promised <= exact(fewest, fewest).low


@pytest.mark.parametrize("seed", range(10))
def test_a_threshold_is_the_last_one_before_the_first_that_fails(seed):
    rng = np.random.default_rng(seed)
    truth = rng.random((150, 2)) < 0.4
    scores = np.round(truth * 0.5 + rng.random((150, 2)) * rng.uniform(0.3, 1.2), 2).astype(np.float32)  # with ties
    for label, thresholds in find_thresholds(truth, scores, ["a", "b"]).items():
        column = "ab".index(label)
        labels, found = truth[:, column], scores[:, column]
        expected = {}
        for promised in TARGET_PRECISIONS:
            for value in np.unique(found)[::-1]:
                passed = found >= value
                if passed.sum() < fewest_clips(promised):
                    continue
                ends = exact(labels[passed].sum(), passed.sum())
                if ends.low < promised:
                    break
                expected[promised] = (float(value), ends)
        assert {each.promised: each.score for each in thresholds} == {p: value for p, (value, _) in expected.items()}
        for each in thresholds:
            passed = found >= each.score
            assert each.clips == passed.sum()
            assert each.precision == pytest.approx(precision_score(labels, passed))
            assert each.recall == pytest.approx(recall_score(labels, passed))
            assert [each.low, each.high] == pytest.approx([*expected[each.promised][1]])


@pytest.mark.parametrize("promised", TARGET_PRECISIONS)
def test_nine_of_ten_data_sets_have_no_threshold_if_the_precision_is_just_below_the_promise(promised):
    """No threshold keeps the promise here, and hundreds of scores could look as if one did."""
    rng = np.random.default_rng(1)
    draws, broken = 500, 0
    for _ in range(draws):
        truth, scores = rng.random((300, 1)) < promised - 0.001, rng.random((300, 1))
        found = find_thresholds(truth, scores, ["a"])["a"]
        broken += any(each.promised == promised for each in found)
    assert broken / draws <= ERROR + 2 * np.sqrt(ERROR * (1 - ERROR) / draws)


def draw(rng, clips, skill):
    truth = rng.random((clips, 1)) < 0.2
    return truth, rng.normal(skill * truth, 1).astype(np.float32)


def test_promises_are_kept_on_clips_that_the_thresholds_were_not_chosen_on():
    rng = np.random.default_rng(1)
    kept = {promised: [] for promised in TARGET_PRECISIONS}
    for _ in range(300):
        skill = rng.uniform(1.5, 4)
        for threshold in find_thresholds(*draw(rng, 300, skill), ["a"])["a"]:
            truth, scores = draw(rng, 20_000, skill)
            kept[threshold.promised].append(truth[scores >= threshold.score].mean() >= threshold.promised)
    assert all(len(each) > 50 for each in kept.values())
    assert {promised: np.mean(each) > 0.9 for promised, each in kept.items()} == dict.fromkeys(TARGET_PRECISIONS, True)


@pytest.mark.parametrize("positives", [0, 3, 10])
def test_too_few_clips_promise_nothing(positives):
    truth = np.arange(100)[:, None] >= 100 - positives
    assert find_thresholds(truth, truth.astype(np.float32), ["a"]) == {"a": []}


def test_scores_that_do_not_tell_clips_apart_promise_nothing():
    truth = np.arange(1000)[:, None] % 2 == 0
    assert find_thresholds(truth, np.zeros((1000, 1), np.float32), ["a"]) == {"a": []}


def test_floors_lie_above_the_disturbances_that_have_not_the_label():
    truth = np.array([[False, True, True], [False, False, True]])
    scores = np.array([[0.2, 0.9, 0.5], [0.5, 0.75, 0.6]], np.float32)
    # Odds of 1 and of 3, each times exp(0.3) = 1.34986.
    assert find_min_scores(truth, scores) == pytest.approx([1.34986 / 2.34986, 4.04958 / 5.04958, -np.inf], abs=1e-5)
    assert list(find_min_scores(truth[:0], scores[:0])) == [-np.inf] * 3


@pytest.mark.parametrize(
    ("floor", "expected"),
    [
        (0.0, {0.8: 0.50, 0.9: 0.50}),
        (0.5, {0.8: 0.51, 0.9: 0.51}),  # at the old threshold is not above it
        (0.575, {0.8: 0.58, 0.9: 0.58}),
        (0.58, {0.8: 0.59}),  # 21 clips are too few for .9
        (0.685, {0.8: 0.69}),
        (0.69, {}),  # and 10 for .8
    ],
)
def test_a_floor_raises_thresholds_or_leaves_none(floor, expected):
    truth = np.arange(100)[:, None] < 30
    scores = np.where(truth, 0.5 + 0.01 * np.arange(100)[:, None], 0.1)
    (found,) = find_thresholds(truth, scores, ["a"], min_scores=np.array([floor])).values()
    assert {each.promised: each.score for each in found} == pytest.approx(expected)
    for each in found:
        passed = scores >= each.score
        assert [each.clips, each.precision, each.recall] == [passed.sum(), 1, passed.sum() / 30]


def test_lowest_scores_are_in_the_order_of_the_classes():
    truth = np.arange(100)[:, None] < 20
    found = find_thresholds(np.hstack([truth, truth]), np.hstack([truth * 0.5, truth * 0.25]), ["a", "b"])
    assert list(lowest_scores(found, ["b", "a"], promised=0.8)) == [0.25, 0.5]
    assert list(lowest_scores(found, ["b", "a"], promised=0.95)) == [np.inf, np.inf]
