import json

import numpy as np
import pytest
from fabricated import fabricate_run, finish_run
from sklearn.metrics import label_ranking_average_precision_score

from audiotagging.artifacts.prediction_table import read_predictions
from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.errors import UserError
from audiotagging.metrics import label_precisions, label_table
from audiotagging.results.ensembling import gather
from audiotagging.results.evaluation import evaluate
from audiotagging.results.labelled_clips import labelled_sets
from audiotagging.results.scoring import compare_classes, estimate_classes, estimate_systems, similarity, worst_clips

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


def test_worst_clips_come_with_their_ranks():
    rows = worst_clips(TRUTH, SYSTEMS[0], [str(clip) for clip in range(80)], list("abcde"), count=7)
    scores = {str(clip): judge(TRUTH[[clip]], SYSTEMS[0][[clip]]) for clip in range(80) if TRUTH[clip].any()}
    assert [row["score"] for row in rows] == pytest.approx(sorted(scores.values())[:7])
    for row in rows:
        clip = int(row["clip"])
        assert row["score"] == pytest.approx(scores[row["clip"]])
        order = [list("abcde")[column] for column in np.argsort(-SYSTEMS[0][clip])]
        assert [label["label"] for label in row["predicted"]] == order[:3]
        assert [label["label"] for label in row["labels"]] == [
            label for label in order if TRUTH[clip]["abcde".index(label)]
        ]
        assert all(order[label["rank"] - 1] == label["label"] for label in row["labels"])


def test_a_clip_of_several_labels_is_as_bad_as_the_mean_of_its_labels():
    truth = np.array([[True, True, False], [False, True, False]])
    scores = np.array([[0.1, 0.2, 0.3], [0.9, 0.2, 0.3]])
    rows = worst_clips(truth, scores, ["two", "one"], list("abc"))
    # The labels of "two" have ranks 2 and 3, and precisions 1/2 and 2/3; the label of "one" has rank 3.
    assert [(row["clip"], row["score"]) for row in rows] == [
        ("one", pytest.approx(1 / 3)),
        ("two", pytest.approx(7 / 12)),
    ]


def test_equally_bad_clips_and_equal_scores_keep_their_order():
    clips, classes = ([f"{kind}{number:03}" for number in range(200)] for kind in ("clip", "class"))
    rows = worst_clips(np.ones((200, 200), bool), np.zeros((200, 200)), clips, classes)
    assert [row["clip"] for row in rows] == clips[:20]
    for row in rows:
        assert [label["label"] for label in row["labels"]] == classes
        assert [label["label"] for label in row["predicted"]] == classes[:3]


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
            baseline=tmp_path / "baseline.csv",
        )
    assert not (tmp_path / "report.html").exists()


def test_a_baseline_without_labels_to_compare_it_on_is_refused(tmp_path):
    run = fabricate_run(tmp_path, test_labels=False)
    finish_run(run)
    places = {name: run / name for name in ("spectrograms", "selection")}
    places |= {"report": run / "report.html", "scores": run / "scores.json"}
    with pytest.raises(UserError, match=r"submission.csv: expected labelled test clips to compare it on"):
        evaluate(run, models=[], baseline=run / "submission.csv", **places)
