from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score

from audiotagging.evaluation.mistakes import PER_CLASS, confusions, describe_clip, worst_clips

CLASSES = list("abcdefgh")
RNG = np.random.default_rng(4)
TRUTH = RNG.random((120, 8)) < 0.15
SCORES = TRUTH * 0.5 + RNG.random((120, 8))
CLIPS = [f"{clip}" for clip in range(120)]


def judge(clip):
    return label_ranking_average_precision_score(TRUTH[[clip]], SCORES[[clip]])


def margin(clip):
    return SCORES[clip][TRUTH[clip]].min() - SCORES[clip][~TRUTH[clip]].max()


def test_the_worst_clips_come_first_and_at_most_three_of_a_class():
    rows = worst_clips(TRUTH, SCORES, CLIPS, CLASSES, count=12)
    expected, shown = [], Counter()
    labelled = [clip for clip in range(120) if TRUTH[clip].any()]
    for clip in sorted(labelled, key=lambda clip: (round(judge(clip), 6), margin(clip))):
        labels = np.flatnonzero(TRUTH[clip])
        if all(shown[label] < 3 for label in labels) and len(expected) < 12:
            shown.update(labels)
            expected.append(clip)
    assert [int(row["clip"]) for row in rows] == expected
    assert [row["score"] for row in rows] == pytest.approx([judge(clip) for clip in expected])
    assert PER_CLASS == 3
    assert max(Counter(label["label"] for row in rows for label in row["labels"]).values()) == 3


def test_equally_bad_clips_come_in_the_order_of_their_margins():
    truth = np.eye(4, dtype=bool)[[0, 1, 2, 3]]
    scores = np.where(truth, 0.1, 0.2)  # every label ranks last
    for clip, highest in enumerate([0.5, 0.9, 0.3, 0.7]):
        scores[clip, (clip + 1) % 4] = highest
    rows = worst_clips(truth, scores, list("abcd"), list("wxyz"))
    assert [row["clip"] for row in rows] == list("bdac")
    assert {row["score"] for row in rows} == {0.25}


def test_a_clip_is_shown_with_the_ranks_and_scores_of_its_classes():
    for row in worst_clips(TRUTH, SCORES, CLIPS, CLASSES):
        clip = int(row["clip"])
        order = [CLASSES[column] for column in np.argsort(-SCORES[clip])]
        assert [label["label"] for label in row["predicted"]] == order[:3]
        assert [label["label"] for label in row["labels"]] == [
            label for label in order if TRUTH[clip][CLASSES.index(label)]
        ]
        assert all(order[label["rank"] - 1] == label["label"] for label in row["labels"])
        assert all(label["score"] == SCORES[clip][CLASSES.index(label["label"])] for label in row["labels"])


def test_a_clip_of_several_labels_is_as_bad_as_the_mean_of_its_labels():
    truth = np.array([[True, True, False], [False, True, False]])
    scores = np.array([[0.1, 0.2, 0.3], [0.9, 0.2, 0.3]])
    rows = worst_clips(truth, scores, ["two", "one"], list("abc"))
    # The labels of "two" have ranks 2 and 3, and precisions 1/2 and 2/3; the label of "one" has rank 3.
    assert [(row["clip"], row["score"]) for row in rows] == [
        ("one", pytest.approx(1 / 3)),
        ("two", pytest.approx(7 / 12)),
    ]


def test_clips_with_equal_margins_and_equal_scores_keep_their_order():
    clips, classes = ([f"{kind}{number:03}" for number in range(200)] for kind in ("clip", "class"))
    truth = np.repeat(np.eye(200, dtype=bool), 3, axis=0)[:200]
    rows = worst_clips(truth, np.zeros((200, 200)), clips, classes)
    assert [row["clip"] for row in rows] == clips[:20]
    assert [label["label"] for label in rows[0]["predicted"]] == classes[:3]


def test_confusions_count_clips_by_label_and_first_class():
    expected = {}
    for clip in range(120):
        first = SCORES[clip].argmax()
        for label in np.flatnonzero(TRUTH[clip]):
            if not TRUTH[clip, first]:
                expected.setdefault((CLASSES[label], CLASSES[first]), []).append(clip)
    rows = confusions(TRUTH, SCORES, CLIPS, CLASSES, count=100)
    assert {(row["label"], row["first"]): row["clips"] for row in rows} == {
        pair: len(found) for pair, found in expected.items()
    }
    assert [row["clips"] for row in rows] == sorted([row["clips"] for row in rows], reverse=True)
    assert confusions(TRUTH, SCORES, CLIPS, CLASSES) == rows[:10]
    for row in rows:
        label, first = CLASSES.index(row["label"]), CLASSES.index(row["first"])
        found = sorted(expected[row["label"], row["first"]], key=lambda clip: SCORES[clip, label] - SCORES[clip, first])
        assert [int(example["clip"]) for example in row["examples"]] == found[:2]
        assert row["labelled"] == TRUTH[:, label].sum()
        assert all(example["predicted"][0]["label"] == row["first"] for example in row["examples"])


def test_what_is_ranked_right_is_not_confused():
    truth = np.array([[True, True, False], [False, False, False]])
    assert confusions(truth, np.array([[0.1, 0.9, 0.5], [0.1, 0.2, 0.3]]), ["1", "2"], list("abc")) == []


def test_confusions_show_the_two_clips_that_are_most_wrong():
    truth = np.array([[True, False]] * 4)
    scores = np.array([[0.4, 0.5], [0.1, 0.6], [0.2, 0.5], [0.3, 0.5]])
    (row,) = confusions(truth, scores, list("wxyz"), ["a", "b"])
    assert row["clips"] == 4 and [example["clip"] for example in row["examples"]] == ["x", "y"]


def test_equally_frequent_confusions_come_in_the_order_of_the_classes():
    truth, scores = np.eye(3, dtype=bool)[[2, 1]], np.array([[0.9, 0.1, 0.2]] * 2)
    assert [row["label"] for row in confusions(truth, scores, ["1", "2"], list("abc"))] == ["b", "c"]


def test_classes_with_equal_scores_keep_their_order():
    classes = [f"{number:03}" for number in range(200)]
    row = describe_clip(np.ones(200, bool), np.arange(200) % 2, "clip", classes, shown=200)
    expected = [*classes[1::2], *classes[::2]]
    assert [label["label"] for label in row["labels"]] == [label["label"] for label in row["predicted"]] == expected
