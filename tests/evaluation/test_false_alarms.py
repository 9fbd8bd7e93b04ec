import numpy as np
import pytest

from audiotagging.ensemble.labelled_clips import LabelledSet
from audiotagging.evaluation.reliability import describe_false_alarms, kinds_of, loudest_kinds

CLASSES = ["Rain", "Buzz"]


def labelled(clips, truth, scores):
    return LabelledSet(clips, np.array(truth, bool), {"ensemble": np.array(scores, np.float32)})


@pytest.fixture
def out_of_fold():
    """26 clips of Rain, 20 of Buzz, and 54 of neither; Rain scores .5 to 1, Buzz .9."""
    truth = np.zeros((100, 2), bool)
    truth[:26, 0], truth[26:46, 1] = True, True
    scores = np.full((100, 2), 0.1, np.float32)
    scores[:26, 0], scores[26:46, 1] = 0.5 + 0.02 * np.arange(26), 0.9
    return labelled([], truth, scores)


@pytest.fixture
def disturbances():
    """Noise scores .6 and .7 as Rain, and hum scores high as Buzz, which is right."""
    return labelled(
        ["white-noise-1", "white-noise-2", "hum-1", "hum-2", "hum-3", "hum-4"],
        [[0, 0], [0, 0], [0, 1], [0, 1], [0, 1], [0, 0]],
        [[0.6, 0.2], [0.7, 0.3], [0.3, 0.95], [0.2, 0.95], [0.1, 0.95], [0.1, 0.05]],
    )


def test_the_tags_after_raising_are_those_of_thresholds_that_were_raised_with_other_disturbances(
    disturbances, out_of_fold
):
    """The odds of .6 and .7 times exp(.3) are those of .669 and .759: the next scores are .68 and .76.

    Seventeen and thirteen clips with the label reach them, all right. That is enough for .8, but not for .9.
    """
    noise, hum = describe_false_alarms(disturbances, [5, 5, 5, 5, 5, 5], CLASSES, out_of_fold)
    facts = {"kind": "white noise", "clips": 2, "seconds": 10, "label": "Rain", "score": pytest.approx(0.7)}
    assert {key: noise[key] for key in facts} == facts
    assert noise["promises"] == [
        {"promised": 0.8, "before": 12, "after": 6},  # the second still passes the threshold raised with the first
        {"promised": 0.9, "before": 12, "after": 0},
        {"promised": 0.95, "before": 0, "after": 0},
    ]
    facts = {"kind": "hum", "clips": 4, "seconds": 20, "label": "Rain", "score": pytest.approx(0.3)}
    assert {key: hum[key] for key in facts} == facts
    assert all(promise["before"] == promise["after"] == 0 for promise in hum["promises"])


def test_without_folds_only_the_best_tags_are_described(disturbances):
    noise, hum = describe_false_alarms(disturbances, [2.5] * 6, CLASSES, None)
    assert noise["promises"] == hum["promises"] == []
    assert noise["seconds"] == 5 and noise["label"] == hum["label"] == "Rain"


def test_a_length_counts_per_minute(disturbances, out_of_fold):
    noise, _ = describe_false_alarms(disturbances, [20, 40, 1, 1, 1, 1], CLASSES, out_of_fold)
    assert noise["promises"][0] == {"promised": 0.8, "before": 2, "after": 1}


def test_the_loudest_kind_of_a_class_is_where_it_is_wrong(disturbances):
    assert loudest_kinds(disturbances, CLASSES) == {"Rain": "white noise", "Buzz": "white noise"}
    assert kinds_of(["a-b-c-12"]).tolist() == ["a b c"]
