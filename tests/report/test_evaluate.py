import argparse
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers.fabricated import fabricate_run, finish_run, models_of, replace_weights
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score
from sklearn.preprocessing import MultiLabelBinarizer

from audiotagging.artifacts.ensemble_folder import read_ensemble
from audiotagging.artifacts.predictions import Predictions, read_predictions, write_predictions
from audiotagging.artifacts.selection import LINEAR_PREDICTIONS
from audiotagging.artifacts.spectrogram_shards import read_classes, read_clips
from audiotagging.base.errors import UserError
from audiotagging.champions.promotion import promote
from audiotagging.data.preprocessing import excerpts_of
from audiotagging.evaluation.findings import findings
from audiotagging.members import LINEAR, LINEAR_MEMBER, REFERENCE
from audiotagging.report.clips import audio_url
from audiotagging.statistics.metrics import label_table
from commands.evaluate import add_arguments
from commands.evaluate import run as evaluate_again
from commands.outputs import print_results

pytestmark = pytest.mark.usefixtures("blank_plots")


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
    present = truth.any(axis=0)
    expected = average_precision_score(truth[:, present], ranked.loc[:, present], average="macro")
    assert scores["mean_average_precision"][system][name] == pytest.approx(expected, abs=1e-9)
    if name == "all" and system == "ensemble":
        for row in scores["classes"]:
            column = read_classes(run / "spectrograms").index(row["label"])
            expected = average_precision_score(truth[:, column], ranked[column])
            assert row["average_precision"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"test_labels": False}, {"out_of_fold"}),
        ({"folds": [-1]}, {"all", "public", "private"}),
        ({"test_labels": False, "folds": [-1]}, set()),
        ({"noisy": False}, {"all", "public", "private", "out_of_fold"}),
        ({"members": REFERENCE[:1]}, {"all", "public", "private", "out_of_fold"}),
        pytest.param({"classes": 300}, {"all", "public", "private", "out_of_fold"}, marks=pytest.mark.slow),
    ],
)
def test_what_cannot_be_scored_is_left_out(tmp_path, given, names):
    result = finish_run(fabricate_run(tmp_path, **given))
    assert set(result["ensemble"]) == names
    assert all(set(scores) == names for scores in result["members"].values())
    assert (tmp_path / "report.html").stat().st_size < 5e6


def numbers(text):
    return [float(word.strip(".,:;")) for word in text.split() if word.strip("+-.,:;")[:1].isdigit() and "." in word]


def test_the_terminal_prints_both_measures_of_every_system(run, capsys):
    print_results(run)
    scores = json.loads((run / "scores.json").read_text())
    lwlraps, precisions, *_ = capsys.readouterr().out.strip().split("\n\n")
    for table, measure, expected in [
        (
            lwlraps,
            "lwlrap",
            scores["members"] | {"linear model": scores["linear"], "ensemble": scores["ensemble"]},
        ),
        (precisions, "mAP", scores["mean_average_precision"]),
    ]:
        header, *rows = table.splitlines()
        assert header.split() == [measure, "all", "public", "private", "out_of_fold"]
        cells_of = [re.split("  +", row) for row in rows]
        assert {name for name, *_ in cells_of} == set(expected) and cells_of[-1][0] == "ensemble"
        for name, *cells in cells_of:
            assert [float(cell) for cell in cells] == pytest.approx(list(expected[name].values()), abs=5.1e-5)


@pytest.mark.parametrize(
    ("ends", "words"),
    [((0.01, 0.03), "better than"), ((-0.01, 0.03), "not clearly different from"), ((-0.03, -0.01), "worse than")],
)
def test_the_terminal_says_whether_the_ensemble_is_better(run, ends, words):
    scores = json.loads((run / "scores.json").read_text())
    estimates = scores["estimates"]["all"]
    best = max(estimates["members"], key=lambda member: estimates["members"][member]["score"])
    estimates["members"][best] |= {"difference": 0.005, "difference_low": ends[0], "difference_high": ends[1]}
    first, second, *_ = findings(scores)
    ensemble = estimates["ensemble"]
    expected = [ensemble["score"], 95, ensemble["low"], ensemble["high"], estimates["chance"]]
    assert numbers(first.replace("95", "95.0")) == pytest.approx(expected, abs=5.1e-5)
    assert second.startswith(f"It is {words} its best member, {best}:")
    assert numbers(second) == pytest.approx([0.005, *ends])


def test_the_comparison_with_a_baseline_is_printed_with_its_name(run, tmp_path, capsys):
    worse = pd.read_csv(run / "submission.csv").set_index("fname")
    rng = np.random.default_rng(1)
    pd.DataFrame(rng.random(worse.shape), worse.index, worse.columns).to_csv(tmp_path / "worse.csv")
    shutil.copytree(run, tmp_path / "out")
    evaluate_again(argparse.Namespace(out=tmp_path / "out", baseline=tmp_path / "worse.csv", before=None, audio=None))
    printed, scores = capsys.readouterr().out, json.loads((tmp_path / "out" / "scores.json").read_text())
    (line,) = [line for line in printed.splitlines() if "worse.csv" in line]
    other = scores["estimates"]["all"]["baseline"]["baseline"]
    assert line.startswith(f"It is better than {tmp_path / 'worse.csv'}, whose lwlrap is ")
    expected = [other[key] for key in ("score", "difference", "difference_low", "difference_high")]
    assert numbers(line.partition("whose")[2]) == pytest.approx(expected, abs=5.1e-5)
    assert f"the baseline, {tmp_path / 'worse.csv'}" in (tmp_path / "out" / "report.html").read_text()


def data_of(run, folder):
    """Write a data folder with the curated and test clips of a run, with some labels, and return it."""
    clips = read_clips(run / "spectrograms")
    curated, test = (clips["clip"][clips["part"] == part] for part in ("curated", "test"))
    folders = {"train_curated": curated, "test": test}
    for name, names in folders.items():
        (folder / name).mkdir(parents=True)
        for number, clip in enumerate(names):
            soundfile.write(folder / name / clip, np.random.default_rng(number).normal(0, 0.1, 5_000), 44_100)
    labels = ["one", "other"] * (len(curated) // 2)
    pd.DataFrame({"fname": curated, "labels": labels}).to_csv(folder / "train_curated.csv", index=False)
    pd.DataFrame({"fname": test, "one": 0, "other": 0}).to_csv(folder / "sample_submission.csv", index=False)
    return folder


def parse(*arguments):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


def test_players_are_added_to_a_run_that_kept_no_audio(tmp_path, caplog):
    run = fabricate_run(tmp_path / "run", clips=12)
    before = finish_run(run)
    data = data_of(run, tmp_path / "data")
    silent = before["worst"][1]["clip"]
    (data / "test" / silent).write_bytes(b"no sound")
    evaluate_again(parse(str(run), "--audio", str(data)))
    assert f"{silent} cannot be heard: it cannot be decoded" in caplog.text
    worst = before["worst"][0]["clip"]
    sound = excerpts_of(data, [worst])[worst]
    page, after = (run / "report.html").read_text(), json.loads((run / "scores.json").read_text())
    assert f'aria-label="Sound of {worst}" src="{audio_url(sound)}"' in page
    assert f"Sound of {silent}" not in page and "heard" not in after["worst"][1]
    assert after["worst"][0]["heard"] == [0, pytest.approx(5_000 / 44_100, abs=0.02)]
    assert after["ensemble"] == before["ensemble"]

    (data / "test" / worst).unlink()
    table = pd.read_csv(data / "sample_submission.csv")
    table[table["fname"] != worst].to_csv(data / "sample_submission.csv", index=False)
    with pytest.raises(UserError, match=rf"data: expected the data of this run, found no clip {worst}; name another"):
        evaluate_again(parse(str(run), "--audio", str(data)))
    assert (run / "report.html").read_text() == page


@pytest.mark.parametrize("clearly", [True, False])
def test_the_ensemble_is_compared_with_a_linear_model(tmp_path, clearly):
    run = fabricate_run(tmp_path)
    path = run / "selection" / LINEAR_PREDICTIONS
    linear = read_predictions(path)
    if not clearly:  # it knows the labels
        labels = read_clips(run / "spectrograms").set_index("clip").loc[linear.rows["clip"], "labels"]
        known = label_table(labels.tolist(), linear.classes).astype(np.float32)
        linear = Predictions(linear.classes, linear.rows, known, [LINEAR])
        write_predictions(path, linear)
    scores = finish_run(run)
    clips = read_clips(run / "spectrograms")
    tested = clips[(clips["part"] == "test") & (clips["labels"].str.len() > 0)].set_index("clip")
    found = pd.DataFrame(linear.scores, index=linear.rows["clip"]).loc[tested.index].to_numpy()
    truth = label_table(tested["labels"].tolist(), linear.classes)
    expected = label_ranking_average_precision_score(truth, found, sample_weight=truth.sum(axis=1))
    assert scores["linear"]["all"] == pytest.approx(expected, abs=1e-6)
    assert set(scores["linear"]) == set(scores["ensemble"])
    compared = scores["estimates"]["all"]["linear"]["linear"]
    assert compared["difference"] == pytest.approx(scores["ensemble"]["all"] - expected, abs=1e-6)
    (sentence,) = (sentence for sentence in findings(scores) if "a linear model" in sentence)
    advice = "Longer training helps"
    assert (compared["difference_low"] > 0) == clearly == sentence.startswith("It is better than a linear model")
    assert (advice in sentence) == (advice in (run / "report.html").read_text()) == (not clearly)


def test_a_linear_model_alone_is_not_compared_with_itself(tmp_path):
    scores = finish_run(fabricate_run(tmp_path, members=[LINEAR_MEMBER]))
    assert "linear" not in scores and "linear" not in scores["estimates"]["all"]
    assert not any("a linear model" in sentence for sentence in findings(scores))


@pytest.mark.parametrize("damage", ["other classes", "a clip less"])
def test_predictions_of_a_linear_model_of_another_run_are_refused(tmp_path, damage):
    run = fabricate_run(tmp_path)
    path = run / "selection" / LINEAR_PREDICTIONS
    found = read_predictions(path)
    rows, scores, classes = found.rows, found.scores, found.classes
    if damage == "other classes":
        classes = [*classes[:-1], "unknown"]
    else:
        rows, scores = rows[1:], scores[1:]
    write_predictions(path, Predictions(classes, rows, scores, [LINEAR]))
    with pytest.raises(UserError, match=r"linear\.parquet: expected scores of the classes and clips"):
        finish_run(run)


def test_results_of_earlier_versions_without_a_linear_model_can_be_scored(tmp_path):
    run = fabricate_run(tmp_path)
    (run / "selection" / LINEAR_PREDICTIONS).unlink()
    scores = finish_run(run)
    assert "linear" not in scores and "spectrogram statistics" not in (run / "report.html").read_text()


@pytest.mark.parametrize("test", [True, False])
def test_the_terminal_says_that_there_is_nothing_to_score(tmp_path, test, capsys):
    run = fabricate_run(tmp_path, test=test, test_labels=False, folds=[-1])
    scores = finish_run(run)
    (sentence,) = findings(scores)
    assert "nothing to score" in sentence
    print_results(run)
    assert capsys.readouterr().out.startswith(f"\n{sentence}\n\nreport.html ")  # without tables that are empty
    assert scores["members"] == {member.id: {} for member in REFERENCE[:3]}
    assert ("similarity" in scores) == test


def test_an_ensemble_that_predicted_only_disturbances_is_complete(tmp_path):
    run = fabricate_run(tmp_path / "run", test=False, folds=[-1])
    finish_run(run)
    predictions, averaging = read_ensemble(run)
    assert set(predictions.rows["part"]) == {"disturbance"} and predictions.scores.shape == (4 * 16, 8)
    assert averaging.weights == pytest.approx({member.id: 1 / 3 for member in REFERENCE[:3]})
    assert (run / "submission.csv").read_text().splitlines() == [
        ",".join(["fname", '"Bass_drum, <b>&"', *predictions.classes[1:]])
    ]
    for reason in ("there was no champion yet", "no labelled clips in common"):
        replace_weights(models_of(run)[0], reason.encode())
        decision = promote(
            run / "averaged",
            models=models_of(run),
            spectrograms=run / "spectrograms",
            selection=run / "selection",
            champions=tmp_path / "champions",
        )
        assert reason in decision["reason"]


def test_the_terminal_says_what_is_promised_and_kept(run):
    scores = json.loads((run / "scores.json").read_text())
    promised = {"tags": 20, "recall": 0.25, "precision": 0.95, "low": 0.9, "high": 0.99}
    promises = [
        {"promised": 0.9, "classes": 7, "missing": 1, "sets": {"all": promised}},
        {"promised": 0.95, "classes": 1, "missing": 7, "sets": {"all": {"tags": 0, "recall": 0.0}}},
        {"promised": 0.95, "classes": 0, "missing": 8, "sets": {"all": {"tags": 0, "recall": 0.0}}},
    ]
    first, second, third = findings(scores | {"thresholds": {"promises": promises}})[-4:-1]
    assert first == (
        "A precision of 0.9 is promised for 7 of 8 classes: the precision is 0.9500, 95 % interval 0.9000 to 0.9900, "
        "and the recall 0.2500."
    )
    assert second == "A precision of 0.95 is promised for 1 of 8 classes: nothing passes."
    assert third == "A precision of 0.95 is promised for none of 8 classes."


@pytest.mark.parametrize(("submitted", "numbers_said"), [(True, [0.75, 0.7]), (False, [0.7, 0.75])])
def test_the_terminal_says_which_scores_are_submitted(run, submitted, numbers_said):
    scores = json.loads((run / "scores.json").read_text())
    both = {"uncalibrated": {"lwlrap": 0.7}, "calibrated": {"lwlrap": 0.75}}
    calibration = {"submitted": submitted, "sets": {"out_of_fold": both}}
    (sentence,) = [each for each in findings(scores | {"calibration": calibration}) if "submission.csv" in each]
    assert sentence.startswith(f"submission.csv holds {'calibrated' if submitted else 'uncalibrated'} scores")
    assert numbers(sentence) == pytest.approx(numbers_said)


def test_the_terminal_says_that_scores_are_uncalibrated(tmp_path):
    scores = finish_run(fabricate_run(tmp_path, folds=[-1]))
    assert "calibration" not in scores and "thresholds" not in scores
    assert "suspicious" not in scores
    assert "The scores are uncalibrated" in findings(scores)[-2] and "were not checked" in findings(scores)[-1]
