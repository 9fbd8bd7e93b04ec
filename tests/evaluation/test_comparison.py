import argparse
import json
import shutil

import numpy as np
import pytest
from helpers.fabricated import fabricate_run, finish_run

from audiotagging.base.errors import UserError
from audiotagging.evaluation.comparison import compare
from audiotagging.members import REFERENCE
from audiotagging.statistics.intervals import compare_classes
from audiotagging.statistics.metrics import label_precisions
from commands.compare import run as run_command

pytestmark = pytest.mark.usefixtures("blank_plots")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs on the same data: one with the first member only."""
    one = fabricate_run(tmp_path_factory.mktemp("one"), clips=300, members=REFERENCE[:3])
    three = shutil.copytree(one, tmp_path_factory.mktemp("three") / "run")
    for path in one.glob("*/xresnet34*"), one.glob("*/*-bce-*"):
        for file in path:
            shutil.rmtree(file) if file.is_dir() else file.unlink()
    finish_run(one)
    finish_run(three)
    return one, three


def test_scores_and_differences_are_those_of_the_runs(runs):
    comparison = compare(*runs)
    scores = [json.loads((run / "scores.json").read_text()) for run in runs]
    old, new = (each["ensemble"] for each in scores)
    precisions = [each["mean_average_precision"]["ensemble"] for each in scores]
    ids = sorted(member.id for member in REFERENCE[1:3])
    assert comparison["notes"] == [
        "The data are the same.",
        f"In B, the settings differ: it also has {ids[0]} and {ids[1]}.",
    ]
    assert list(comparison["sets"]) == ["all", "public", "private", "out_of_fold"]
    for name, row in comparison["sets"].items():
        assert row["old"]["score"] == pytest.approx(old[name])
        assert row["new"]["score"] == pytest.approx(new[name])
        assert row["difference"] == pytest.approx(new[name] - old[name])
        assert row["difference_low"] < row["difference"] < row["difference_high"]
        found = [row["mean_average_precision"][run] for run in ("old", "new")]
        assert found == pytest.approx([each[name] for each in precisions])
    assert comparison["sets"]["all"]["difference_low"] > 0  # three members are clearly better than one


def test_a_run_equals_itself(runs):
    comparison = compare(runs[0], runs[0])
    assert comparison["notes"] == ["The data are the same.", "The settings are the same."]
    assert all(row["difference_low"] == row["difference_high"] == 0 for row in comparison["sets"].values())
    assert all(row["difference"] == 0 for row in comparison["classes"])


def test_gains_of_classes_equal_plain_loops():
    rng = np.random.default_rng(4)
    truth, old, new = rng.random((60, 5)) < 0.4, rng.random((60, 5)), rng.random((60, 5))
    truth[:, 3] = False
    rows = compare_classes(truth, old, new, list("abcde"))
    assert sorted(row["label"] for row in rows) == list("abce")
    assert [row["difference"] for row in rows] == sorted((row["difference"] for row in rows), reverse=True)
    for row in rows:
        column = "abcde".index(row["label"])
        clips = [clip for clip in range(60) if truth[clip, column]]
        before, after = (np.mean([label_precisions(truth, s)[clip, column] for clip in clips]) for s in (old, new))
        assert (row["clips"], row["old"], row["new"]) == (len(clips), pytest.approx(before), pytest.approx(after))
        assert row["low"] < after - before < row["high"]


def test_runs_without_a_common_clip_are_refused(runs, tmp_path):
    other = fabricate_run(tmp_path, seed=2)
    finish_run(other)
    with pytest.raises(UserError, match="expected labelled clips that both runs predicted, found none"):
        compare(runs[0], other)


def test_clips_of_only_one_run_are_reported_and_left_out(runs, tmp_path):
    fewer = fabricate_run(tmp_path, clips=300, members=REFERENCE[:1], folds=[0])  # half of the clips are out of fold
    finish_run(fewer)
    scores = json.loads((fewer / "scores.json").read_text())
    scores["selection"]["clips"].pop()
    (fewer / "scores.json").write_text(json.dumps(scores))
    comparison = compare(runs[1], fewer)
    ids = sorted(member.id for member in REFERENCE[1:3])
    assert comparison["notes"] == [
        "The data are the same.",
        f"In B, the settings differ: it lacks {ids[0]} and {ids[1]}; folds held out 0 instead of 0 and 1; 0 noisy "
        "clips more to train on, and 1 fewer.",
        "out_of_fold: The comparison uses the 150 clips that are in both runs; 150 clips are only in the first run "
        "and 0 only in the second.",
    ]
    assert comparison["sets"]["out_of_fold"]["clips"] == 150


def test_runs_of_other_classes_are_refused(runs, tmp_path):
    other = fabricate_run(tmp_path, classes=5)
    finish_run(other)
    with pytest.raises(UserError, match=r"expected runs with the same classes, found 8 in .* and 5 in .*, 3 of which"):
        compare(runs[0], other)


def test_a_folder_that_is_not_a_run_is_refused(runs, tmp_path):
    with pytest.raises(UserError, match="expected the output of a run, found no predictions"):
        compare(runs[0], tmp_path)


def test_the_command_prints_the_difference_and_the_classes(runs, capsys):
    assert run_command(argparse.Namespace(old=runs[0], new=runs[1], classes=2)) == 0
    comparison, printed = compare(*runs), capsys.readouterr().out
    row = comparison["sets"]["all"]
    assert f"{row['old']['score']:.4f}  {row['new']['score']:.4f}  {row['difference']:+.4f}" in printed
    assert f"{row['difference_low']:+.4f} to {row['difference_high']:+.4f}  clear" in printed
    both = row["mean_average_precision"]
    mean_precisions = printed.partition("mAP")[2].splitlines()[1].split()
    assert mean_precisions[0] == "all"
    expected = [row["clips"], both["old"], both["new"], both["new"] - both["old"]]
    assert [float(cell) for cell in mean_precisions[1:]] == pytest.approx(expected, abs=5.1e-5)
    gained = [row for row in comparison["classes"] if row["difference"] > 0]
    assert f"{len(gained)} of 8 classes gained" in printed
    assert gained[0]["label"] in printed
    assert f"... and {len(gained) - 2} more" in printed
