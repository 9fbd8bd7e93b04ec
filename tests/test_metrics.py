import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score

from audiotagging.errors import UserError
from audiotagging.metrics import lwlrap


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
