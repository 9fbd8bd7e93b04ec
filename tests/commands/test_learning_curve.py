"""The command `learning-curve`."""

import json
import shutil

import pandas as pd
import pytest
from helpers.fabricated import fabricate_run

from audiotagging.artifacts.selection import read_folds, with_folds
from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.base.errors import UserError
from audiotagging.members import REFERENCE
from commands import learning_curve, main
from commands.learning_curve import divide_clips
from commands.outputs import check_out

pytestmark = pytest.mark.usefixtures("narrow_networks")

QUICK = ["--set", "epochs=1", "epoch_size=1", "size=32", "batch_size=2", "frames=128", "--parallel", "2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return fabricate_run(tmp_path_factory.mktemp("run"), classes=3, clips=24, members=[REFERENCE[2], REFERENCE[5]])


@pytest.mark.slow
def test_it_trains_once_and_says_what_to_record(run, capsys, monkeypatch):
    folder = run / "learning-curve"
    assert main(None, ["learning-curve", str(run), *QUICK]) == 0
    printed = capsys.readouterr().out
    content = json.loads((folder / "learning_curve.json").read_text())
    for row in content["classes"]:
        assert row["label"] in printed and f"{row['scores'][3]:.3f}" in printed
    assert "\nrecord 20 more of: " in printed and str(folder / "learning_curve.html") in printed
    assert (content["part"], content["drawn"], content["scored"], content["noisy"]) == ("test", 24, 24, 12)
    assert sorted(path.name.rsplit("-", 1)[0] for path in (folder / "predictions").iterdir()) == sorted(
        f"draw{draw}-{share}percent" for draw in (1, 2, 3) for share in (25, 50, 75, 100)
    )
    assert not (folder / "checkpoints").exists()
    (run / "scores.json").touch()
    check_out(run, force=True)  # it takes everything in it for the output of a run
    assert content["member"]["network"] == "xresnet18ssa"  # it trained faster than the other one

    trained = []
    train_all = learning_curve.train_all

    def count(trainings, **options):
        trained.extend(trainings)
        return train_all(trainings, **options)

    monkeypatch.setattr(learning_curve, "train_all", count)
    assert main(None, ["learning-curve", str(run), *QUICK, "--clips", "5"]) == 0
    assert trained == [] and "record 5 more of" in capsys.readouterr().out
    lost = next((folder / "predictions").glob("draw2-50percent-*"))
    lost.unlink()
    assert main(None, ["learning-curve", str(run), *QUICK]) == 0
    assert [each.member.id for each in trained] == ["draw2-50percent"] and lost.exists()
    assert json.loads((folder / "learning_curve.json").read_text()) == content
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--clips", "0"], "--clips: expected a number of at least 1, found 0"),
        (["--parallel", "0"], "--parallel: expected a number of at least 1, found 0"),
        (
            ["--member", "x"],
            "models: expected a model of x, found xresnet18ssa-bce, xresnet50-bce; choose with --member",
        ),
        (["--set", "epochs=none"], "expected epochs to be of type int, found 'none'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run, capsys, options, message):
    assert main(None, ["learning-curve", str(run), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_refused(run, tmp_path, capsys):
    shutil.copytree(run / "spectrograms", tmp_path / "spectrograms")
    assert main(None, ["learning-curve", str(tmp_path)]) == 2
    assert f"{tmp_path}: expected the output of a run, found no selection in it" in capsys.readouterr().err


def test_without_labelled_test_clips_a_fold_is_scored(tmp_path):
    run = fabricate_run(tmp_path, clips=24, pictures=False, test_labels=False, folds=(0, 1, 2))
    clips = with_folds(read_clips(run / "spectrograms"), read_folds(run / "selection"))
    part, scored, drawn = divide_clips(clips)
    assert part == "curated" and set(scored["fold"]) == {0} and set(drawn["fold"]) == {1, 2}
    assert len(scored) + len(drawn) == (clips["part"] == "curated").sum()


@pytest.mark.parametrize("curated", [0, 5])
def test_too_few_clips_are_refused(curated):
    clips = pd.DataFrame(
        {
            "clip": [f"{number}.wav" for number in range(curated + 1)],
            "part": ["curated"] * curated + ["test"],
            "labels": [["Dog"]] * curated + [[]],
            "fold": [number % 2 for number in range(curated)] + [-1],
        }
    )
    with pytest.raises(
        UserError, match=r"expected at least 8 curated clips to draw from, found \d; add clips, or labels"
    ):
        divide_clips(clips)
