"""A class whose clips are all in one fold: the models that score these clips were not trained on any of them."""

import csv
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.fabricated import fabricate_run, finish_run, predictions_of
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

from audiotagging.artifacts.ensemble_folder import ENSEMBLE, read_ensemble
from audiotagging.artifacts.predictions import read_predictions, write_predictions
from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.ensemble.ensembling import fit_weights
from audiotagging.evaluation.comparison import read_run

pytestmark = pytest.mark.usefixtures("blank_plots")

UNHEARD = "Class_003"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run without test clips, in which a class is unheard by the models of one fold."""
    run = fabricate_run(tmp_path_factory.mktemp("run"), clips=200, test=False, noisy=False)
    for path in predictions_of(run)[1::2]:
        write_predictions(path, replace(read_predictions(path), unheard=[UNHEARD]))
    return run


@pytest.fixture(scope="module")
def scores(run):
    return finish_run(run, weights="fitted")


@pytest.fixture(scope="module")
def out_of_fold(run, scores):
    """The labels and scores of all clips by the table, without the labels and the clips that do not count."""
    predictions, _ = read_ensemble(run)
    labels = read_clips(run / "spectrograms").set_index("clip")["labels"]
    tables = {
        member: pd.DataFrame(
            predictions.scores[chosen.to_numpy()], predictions.rows["clip"][chosen], predictions.classes
        )
        for member in predictions.members
        for chosen in [(predictions.rows["part"] == "validation") & (predictions.rows["member"] == member)]
    }
    kept = [clip for clip in tables[ENSEMBLE].index if set(labels[clip]) - {UNHEARD}]
    truth = np.array([[name in labels[clip] and name != UNHEARD for name in predictions.classes] for clip in kept])
    assert 0 < len(kept) < len(tables[ENSEMBLE])
    return truth, {member: table.loc[kept].to_numpy() for member, table in tables.items()}


def test_its_labels_are_in_no_out_of_fold_score(scores, out_of_fold):
    truth, systems = out_of_fold
    assert scores["estimates"]["out_of_fold"]["clips"] == len(truth)
    expected = label_ranking_average_precision_score(truth, systems[ENSEMBLE], sample_weight=truth.sum(axis=1))
    assert scores["ensemble"]["out_of_fold"] == pytest.approx(expected)
    columns = truth.any(axis=0)
    expected = average_precision_score(truth[:, columns], systems[ENSEMBLE][:, columns])
    assert scores["mean_average_precision"][ENSEMBLE]["out_of_fold"] == pytest.approx(expected)
    assert scores["scored"] == "out_of_fold" and UNHEARD not in {row["label"] for row in scores["classes"]}


def test_weights_are_not_fitted_to_them(scores, out_of_fold):
    truth, systems = out_of_fold
    members = [member for member in systems if member != ENSEMBLE]
    expected = fit_weights(np.stack([systems[member] for member in members]), truth, mean="arithmetic")
    assert scores["run"]["weights"] == pytest.approx(dict(zip(members, expected, strict=True)))


def test_it_has_no_threshold_and_the_report_says_why(run, scores):
    rows = {row["label"]: row["promises"] for row in scores["thresholds"]["classes"]}
    assert {promise["reason"] for promise in rows[UNHEARD]} == {"only in one fold"}
    assert all(
        promise.get("reason") != "only in one fold" for label in rows.keys() - {UNHEARD} for promise in rows[label]
    )
    note = scores["data"]["notes"][-1]
    assert note.startswith("1 class in one fold only,") and note.endswith(f": {UNHEARD}")
    page = (run / "report.html").read_text(encoding="utf-8")
    assert note in page and "only in one fold</td>" in page


def test_none_of_its_clips_is_suspicious(run, scores):
    with (run / "suspicious.csv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == scores["suspicious"] > 0
    assert not [row for row in rows if UNHEARD in row["labels"].split(",")]


def test_runs_are_compared_without_them(run, scores, out_of_fold):
    truth, _ = out_of_fold
    assert np.array_equal(read_run(run).sets["out_of_fold"].truth, truth)
