import json

import numpy as np
import pytest
from helpers.fabricated import fabricate_run, finish_run
from sklearn.metrics import label_ranking_average_precision_score

from audiotagging.artifacts.predictions import read_predictions
from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.base.errors import UserError
from audiotagging.ensemble.labelled_clips import gather, labelled_sets
from audiotagging.report.evaluate import evaluate
from audiotagging.statistics.intervals import (
    compare_classes,
    describe_classes,
    estimate_classes,
    estimate_systems,
    similarity,
)
from audiotagging.statistics.metrics import label_precisions, label_table

pytestmark = pytest.mark.usefixtures("blank_plots")

RNG = np.random.default_rng(3)
TRUTH = RNG.random((80, 5)) < 0.3
TRUTH[:, 4] = False
SYSTEMS = [TRUTH * 0.5 + RNG.random((80, 5)) for _ in range(3)]


def judge(truth, scores):
    return label_ranking_average_precision_score(truth, scores, sample_weight=truth.sum(axis=1))


def test_differences_are_those_of_the_scores_and_their_intervals_are_paired():
    first, others = estimate_systems(TRUTH, SYSTEMS[0], {"a": {"x": SYSTEMS[1]}, "b": {"x": SYSTEMS[0]}})
    assert first["score"] == pytest.approx(judge(TRUTH, SYSTEMS[0]))
    assert first["low"] < first["score"] < first["high"]
    assert others["a"]["x"]["score"] == pytest.approx(judge(TRUTH, SYSTEMS[1]))
    assert others["a"]["x"]["difference"] == pytest.approx(judge(TRUTH, SYSTEMS[0]) - judge(TRUTH, SYSTEMS[1]))
    same = others["b"]["x"]
    assert same["difference"] == same["difference_low"] == same["difference_high"] == 0


def test_class_scores_weighted_by_their_clips_are_lwlrap():
    rows = estimate_classes(TRUTH, SYSTEMS[0], list("abcde"))
    assert sorted(row["label"] for row in rows) == list("abcd")
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert {row["label"]: row["clips"] for row in rows} == dict(zip("abcd", TRUTH.sum(axis=0), strict=False))
    mean = sum(row["score"] * row["clips"] for row in rows) / TRUTH.sum()
    assert mean == pytest.approx(judge(TRUTH, SYSTEMS[0]))


def draws_of(numerators, denominators):
    """Return the ratios of sums over clips that are drawn with replacement, and the middle 95 % of them."""
    picks = np.random.default_rng(8).integers(len(numerators), size=(4000, len(numerators)))
    ratios = numerators[picks].sum(axis=1) / denominators[picks].sum(axis=1)
    return np.percentile(ratios, [2.5, 97.5])


def test_intervals_of_classes_are_those_of_drawn_clips():
    precisions = [label_precisions(TRUTH, system) for system in SYSTEMS[:2]]
    for row in estimate_classes(TRUTH, SYSTEMS[0], list("abcde")):
        column = "abcde".index(row["label"])
        expected = draws_of(precisions[0][:, column], TRUTH[:, column].astype(float))
        assert [row["low"], row["high"]] == pytest.approx(expected, abs=0.03)
    rows = compare_classes(TRUTH, *SYSTEMS[:2], list("abcde"))
    for row in rows:
        column = "abcde".index(row["label"])
        old, new = (precision[:, column].sum() / TRUTH[:, column].sum() for precision in precisions)
        assert [row["clips"], row["old"], row["new"]] == pytest.approx([TRUTH[:, column].sum(), old, new])
        assert row["difference"] == pytest.approx(new - old)
        expected = draws_of((precisions[1] - precisions[0])[:, column], TRUTH[:, column].astype(float))
        assert [row["low"], row["high"]] == pytest.approx(expected, abs=0.03)
    assert [row["difference"] for row in rows] == sorted((row["difference"] for row in rows), reverse=True)


def test_equal_classes_come_in_the_order_of_their_names():
    truth, scores = np.eye(3, dtype=bool), np.eye(3)
    rows = estimate_classes(truth, scores, ["c", "a", "b"]), compare_classes(truth, scores, scores, ["c", "a", "b"])
    assert [[row["label"] for row in each] for each in rows] == [["a", "b", "c"]] * 2


def test_similarity_is_the_share_of_equal_first_classes():
    shares = similarity(np.stack(SYSTEMS))
    for one, row in enumerate(shares):
        for other, share in enumerate(row):
            equal = [SYSTEMS[one][clip].argmax() == SYSTEMS[other][clip].argmax() for clip in range(80)]
            assert share == pytest.approx(np.mean(equal))


@pytest.mark.parametrize("system", range(3))
def test_classes_are_described_with_every_member(system):
    systems = {"a": SYSTEMS[0], "b": SYSTEMS[1], "whole": SYSTEMS[2]}
    names = list(systems)
    clips = [f"{clip}.wav" for clip in range(80)]
    rows = describe_classes(TRUTH, systems, names[system], clips=clips, classes=list("abcde"))
    assert list(rows) == list("abcd")
    for label, row in rows.items():
        column = "abcde".index(label)
        others = {name for name in names if name != names[system]}
        assert set(row["members"]) == others
        for name in others:
            estimates = {each["label"]: each["score"] for each in estimate_classes(TRUTH, systems[name], list("abcde"))}
            assert row["members"][name] == pytest.approx(estimates[label])
        best = max((SYSTEMS[system][clip, column], clips[clip]) for clip in range(80) if TRUTH[clip, column])
        assert (row["best"]["score"], row["best"]["clip"]) == best
        ordered = {kind: sorted(SYSTEMS[system][TRUTH[:, column] == kind, column]) for kind in (True, False)}
        for kind, found in ((True, row["with_label"]), (False, row["without_label"])):
            assert found == sorted(found) and len(found) == 5
            middle = ordered[kind][(len(ordered[kind]) - 1) // 2], ordered[kind][len(ordered[kind]) // 2]
            assert found[2] == pytest.approx(np.mean(middle))
            assert np.mean(np.array(ordered[kind]) <= found[0]) == pytest.approx(0.05, abs=0.05)
            assert np.mean(np.array(ordered[kind]) <= found[4]) == pytest.approx(0.95, abs=0.05)


def test_a_class_that_all_clips_have_has_no_scores_without_its_label():
    truth = np.array([[True, False], [True, True]])
    rows = describe_classes(truth, {"one": truth * 0.5}, "one", clips=["a", "b"], classes=["all", "some"])
    assert "without_label" not in rows["all"] and rows["some"]["without_label"] == [0] * 5


def test_labels_become_a_table():
    assert label_table([["b"], [], ["c", "a"]], list("abc")).astype(int).tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 1]]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = fabricate_run(tmp_path_factory.mktemp("run"))
    finish_run(run, weights="fitted")
    return run


@pytest.mark.parametrize(("part", "name"), [("test", "all"), ("validation", "out_of_fold")])
def test_an_ensemble_without_a_member_averages_the_others(run, part, name):
    settings = json.loads((run / "ensemble.json").read_text())
    scores = json.loads((run / "scores.json").read_text())["estimates"][name]["without"]
    predictions = read_predictions(run / "predictions.parquet")
    gathered = gather(predictions, part=part)
    truth = labelled_sets(predictions, read_clips(run / "spectrograms"))[name].truth
    weights = np.array([settings["weights"].get(member, 0) for member in gathered.members])
    for place, member in enumerate(gathered.members[1:], 1):
        others = np.where(np.arange(len(weights)) == place, 0, weights)
        if others.sum():
            averaged = np.tensordot(others / others.sum(), gathered.scores, axes=1)
            assert scores[member]["score"] == pytest.approx(judge(truth, averaged), abs=1e-6)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("Class_001", "Class_1"), "and the 8 classes of this run, found 9 columns"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n", "expected a row for every test clip, found none for 1"),
        (lambda text: text + text.splitlines()[-1] + "\n", "expected one row per clip"),
        (lambda text: text.rstrip().rpartition(",")[0] + ",\n", "and a finite number in every field"),
    ],
)
def test_a_baseline_of_other_classes_or_clips_is_refused(run, tmp_path, damage, message):
    (tmp_path / "baseline.csv").write_text(damage((run / "submission.csv").read_text()))
    with pytest.raises(UserError, match=f"baseline.csv: .*{message}"):
        evaluate(
            run,
            models=[],
            spectrograms=run / "spectrograms",
            selection=run / "selection",
            report=tmp_path / "report.html",
            scores=tmp_path / "scores.json",
            audit=tmp_path / "audit",
            baseline=tmp_path / "baseline.csv",
        )
    assert not (tmp_path / "report.html").exists()


def test_a_baseline_without_labels_to_compare_it_on_is_refused(tmp_path):
    run = fabricate_run(tmp_path, test_labels=False)
    finish_run(run)
    places = {name: run / name for name in ("spectrograms", "selection")}
    places |= {"report": run / "report.html", "scores": run / "scores.json", "audit": run / "audit"}
    with pytest.raises(UserError, match=r"submission.csv: expected labelled test clips to compare it on"):
        evaluate(run, models=[], baseline=run / "submission.csv", **places)
