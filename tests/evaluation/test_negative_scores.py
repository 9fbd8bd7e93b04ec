"""Clips in which nothing is to be tagged: no part in lwlrap, counted for false alarms."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.fabricated import fabricate_run, finish_run, predictions_of

from audiotagging.artifacts.calibration import Threshold
from audiotagging.artifacts.predictions import Predictions, read_predictions, write_predictions
from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.ensemble.labelled_clips import LabelledSet, labelled_sets, negative_set, out_of_fold_set
from audiotagging.evaluation.reliability import NEGATIVES, describe_negatives

pytestmark = pytest.mark.usefixtures("blank_plots")

CLASSES = ["Rain", "Buzz"]


@pytest.fixture
def predicted():
    """Predictions and the table of clips: out of fold two with labels and two negatives, and one of the test clips."""
    clips = pd.DataFrame(
        [
            ("a", "curated", ["Rain"], ""),
            ("b", "curated", ["Buzz"], ""),
            ("quiet1", "curated", [], "Negative"),
            ("quiet2", "curated", [], "Negative"),
            ("quiet3", "test", [], "Negative"),
            ("unknown", "test", [], ""),
        ],
        columns=["clip", "part", "labels", "usage"],
    )
    parts = clips["part"].replace({"curated": "validation"})
    rows = pd.DataFrame({"clip": clips["clip"], "part": parts, "member": "ensemble", "fold": -1})
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.1], [0.3, 0.2], [0.1, 0.7], [1, 1]], np.float32)
    return Predictions(CLASSES, rows, scores, ["ensemble"]), clips


def test_negatives_belong_to_no_score_unless_asked_for(predicted):
    assert {name: found.clips for name, found in labelled_sets(*predicted).items()} == {"out_of_fold": ["a", "b"]}
    found = labelled_sets(*predicted, negatives=True)
    assert {name: each.clips for name, each in found.items()} == {"out_of_fold": ["a", "b", "quiet1", "quiet2"]}


def test_a_clip_whose_only_label_no_model_was_trained_on_is_no_negative(predicted):
    predictions, clips = replace(predicted[0], unheard=["Buzz"]), predicted[1]
    found = out_of_fold_set(predictions, clips, negatives=True)
    assert found.clips == ["a", "quiet1", "quiet2"] and found.truth.tolist() == [[True, False], *[[False, False]] * 2]
    assert labelled_sets(predictions, clips)["out_of_fold"].clips == ["a"]
    assert negative_set(predictions, clips).clips == ["quiet1", "quiet2", "quiet3"]


def test_negatives_and_unheard_classes_in_one_run(tmp_path):
    """The weights, the calibration, the thresholds, the scores and the report of a run that has both."""
    run = fabricate_run(tmp_path / "run", clips=60, noisy=False, negatives=8, pictures=False)
    for path in predictions_of(run)[1::2]:
        write_predictions(path, replace(read_predictions(path), unheard=["Class_003"]))
    scores = finish_run(run, weights="fitted")
    clips = read_clips(run / "spectrograms")
    counting = [bool(set(names) - {"Class_003"}) for names in clips["labels"][clips["part"] == "curated"]]
    assert scores["estimates"]["out_of_fold"]["clips"] == sum(counting) < 52
    (row,) = [row for row in scores["disturbances"] if row["kind"] == NEGATIVES]
    assert row["clips"] == 8
    assert "Class_003" in scores["data"]["notes"][-1]
    (promises,) = [row["promises"] for row in scores["thresholds"]["classes"] if row["label"] == "Class_003"]
    assert {promise["reason"] for promise in promises} == {"only in one fold"}
    assert NEGATIVES in (run / "report.html").read_text(encoding="utf-8")


def test_false_alarms_are_the_tags_of_negatives(predicted):
    negatives = negative_set(*predicted)
    assert negatives.clips == ["quiet1", "quiet2", "quiet3"] and not negatives.truth.any()
    truth = np.zeros((100, 2), bool)
    truth[:40, 0], truth[40:80, 1] = True, True
    out_of_fold = LabelledSet([], truth, {"ensemble": np.where(truth, np.float32(0.5), np.float32(0.01))})
    promises = {promised: Threshold(promised, 0.65, 40, 1, 1, 1, 1) for promised in (0.8, 0.9)}
    thresholds = {label: list(promises.values()) for label in CLASSES}
    found = describe_negatives(negatives, [2, 3, 5], CLASSES, thresholds, out_of_fold)
    assert {key: found[key] for key in ("kind", "clips", "seconds", "label")} == {
        "kind": NEGATIVES,
        "clips": 3,
        "seconds": 10,
        "label": "Buzz",
    }
    assert found["score"] == pytest.approx(0.7)
    assert found["promises"] == [  # .6 and .7 reach .5, and .7 reaches .65; in ten seconds
        {"promised": 0.8, "before": 12, "after": 6},
        {"promised": 0.9, "before": 12, "after": 6},
        {"promised": 0.95, "before": 0 + 12 * (found["promises"][2]["before"] > 0), "after": 0},
    ]


def test_without_folds_only_the_best_tag_is_described(predicted):
    assert describe_negatives(negative_set(*predicted), [2, 3, 5], CLASSES, {}, None)["promises"] == []
