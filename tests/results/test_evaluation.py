import json

import pandas as pd
import pytest
from fabricated import fabricate_run, finish_run
from sklearn.metrics import label_ranking_average_precision_score
from sklearn.preprocessing import MultiLabelBinarizer

from audiotagging.artifacts.prediction_table import read_predictions
from audiotagging.artifacts.spectrogram_shards import read_classes, read_clips
from audiotagging.members import REFERENCE


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = fabricate_run(tmp_path_factory.mktemp("run"))
    finish_run(run)
    return run


@pytest.mark.parametrize("system", ["ensemble", *[member.id for member in REFERENCE[:3]]])
@pytest.mark.parametrize("name", ["all", "public", "private", "out_of_fold"])
def test_scores_equal_scikit_learn(run, system, name):
    scores = json.loads((run / "scores.json").read_text())
    found = scores["ensemble"][name] if system == "ensemble" else scores["members"][system][name]
    predictions = read_predictions(run / "predictions.parquet")
    clips = read_clips(run / "spectrograms")
    part = "validation" if name == "out_of_fold" else "test"
    if name in ("public", "private"):
        clips = clips[clips["usage"] == name.capitalize()]
    rows = predictions.rows.join(pd.DataFrame(predictions.scores))
    rows = rows[(rows["part"] == part) & (rows["member"] == system)].merge(clips[["clip", "labels"]], on="clip")
    truth = MultiLabelBinarizer(classes=read_classes(run / "spectrograms")).fit_transform(rows["labels"])
    ranked = rows[list(range(truth.shape[1]))]
    expected = label_ranking_average_precision_score(truth, ranked, sample_weight=truth.sum(axis=1))
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"test_labels": False}, {"out_of_fold"}),
        ({"folds": [-1]}, {"all", "public", "private"}),
        ({"test_labels": False, "folds": [-1]}, set()),
        ({"noisy": False}, {"all", "public", "private", "out_of_fold"}),
        ({"members": REFERENCE[:1]}, {"all", "public", "private", "out_of_fold"}),
        ({"classes": 300}, {"all", "public", "private", "out_of_fold"}),
    ],
)
def test_what_cannot_be_scored_is_left_out(tmp_path, given, names):
    result = finish_run(fabricate_run(tmp_path, **given))
    assert set(result["ensemble"]) == names
    assert all(set(scores) == names for scores in result["members"].values())
    assert (tmp_path / "report.html").stat().st_size < 5e6
