import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import precision_score, recall_score

from audiotagging.results.thresholds import LEVEL, PROMISES, fewest_clips, find_thresholds, wilson


@given(st.integers(1, 500), st.floats(0, 1), st.sampled_from([0.6, 0.8, 0.95]))
def test_wilson_equals_scipy(clips, share, level):
    right = round(share * clips)
    expected = binomtest(right, clips).proportion_ci(level, method="wilson")
    low, high = wilson(np.array([right]), np.array([clips]), level=level)
    assert [low[0], high[0]] == pytest.approx([expected.low, expected.high], abs=1e-9)


@pytest.mark.parametrize("promised", PROMISES)
def test_fewest_clips_is_the_first_number_that_can_keep_a_promise(promised):
    fewest = fewest_clips(promised)
    ends = [binomtest(n, n).proportion_ci(LEVEL, method="wilson").low for n in (fewest - 1, fewest)]
    assert ends[0] < promised <= ends[1]


@pytest.mark.parametrize("seed", range(10))
def test_a_threshold_is_the_lowest_whose_interval_keeps_the_promise(seed):
    rng = np.random.default_rng(seed)
    truth = rng.random((150, 2)) < 0.4
    scores = np.round(truth * 0.5 + rng.random((150, 2)) * rng.uniform(0.3, 1.2), 2).astype(np.float32)  # with ties
    for label, thresholds in find_thresholds(truth, scores, ["a", "b"]).items():
        column = "ab".index(label)
        labels, found = truth[:, column], scores[:, column]
        expected = {}
        for promised in PROMISES:
            for value in np.unique(found):
                passed = found >= value
                ends = binomtest(int(labels[passed].sum()), int(passed.sum())).proportion_ci(LEVEL, method="wilson")
                if ends.low >= promised:
                    expected[promised] = (float(value), ends)
                    break
        assert {each.promised: each.score for each in thresholds} == {p: value for p, (value, _) in expected.items()}
        for each in thresholds:
            passed = found >= each.score
            assert each.clips == passed.sum()
            assert each.precision == pytest.approx(precision_score(labels, passed))
            assert each.recall == pytest.approx(recall_score(labels, passed))
            assert [each.low, each.high] == pytest.approx([*expected[each.promised][1]])


def draw(rng, clips, skill):
    truth = rng.random((clips, 1)) < 0.2
    return truth, rng.normal(skill * truth, 1).astype(np.float32)


def test_promises_are_kept_on_clips_that_the_thresholds_were_not_chosen_on():
    rng = np.random.default_rng(1)
    kept = {promised: [] for promised in PROMISES}
    for _ in range(300):
        skill = rng.uniform(1.5, 4)
        for threshold in find_thresholds(*draw(rng, 300, skill), ["a"])["a"]:
            truth, scores = draw(rng, 20_000, skill)
            kept[threshold.promised].append(truth[scores >= threshold.score].mean() >= threshold.promised)
    assert all(len(each) > 50 for each in kept.values())
    assert {promised: np.mean(each) > 0.85 for promised, each in kept.items()} == dict.fromkeys(PROMISES, True)


@pytest.mark.parametrize("positives", [0, 3, 6])
def test_too_few_clips_promise_nothing(positives):
    truth = np.arange(100)[:, None] >= 100 - positives
    assert find_thresholds(truth, truth.astype(np.float32), ["a"]) == {"a": []}


def test_scores_that_do_not_tell_clips_apart_promise_nothing():
    truth = np.arange(1000)[:, None] % 2 == 0
    assert find_thresholds(truth, np.zeros((1000, 1), np.float32), ["a"]) == {"a": []}
