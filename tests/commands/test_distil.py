"""The command `distil`."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.fabricated import fabricate_run, finish_run, models_of, replace_weights
from safetensors.torch import save

from audiotagging.artifacts.calibration import calibrate
from audiotagging.artifacts.ensemble_folder import ENSEMBLE, read_ensemble
from audiotagging.artifacts.model_folder import read_metadata
from audiotagging.artifacts.spectrogram_shards import read_clips, read_spectrograms
from audiotagging.base.processes import TERMINATED
from audiotagging.ensemble.calibration import fit_platt
from audiotagging.members import REFERENCE
from audiotagging.statistics.metrics import label_table
from audiotagging.tagging.loading import load_tagger
from audiotagging.training.augmentation import VIEWS
from audiotagging.training.networks import NETWORKS
from commands import distil, main
from commands.outputs import check_out

pytestmark = pytest.mark.usefixtures("narrow_networks", "blank_plots")

MEMBERS = [replace(member, size=32, frames=128) for member in REFERENCE[:2]]
QUICK = ["--set", "epochs=1", "epoch_size=2", "batch_size=4"]


def make_run(folder, **options):
    run = fabricate_run(folder, **{"classes": 3, "clips": 6, "folds": [0], "members": MEMBERS} | options)
    for place, model in enumerate(models_of(run)):
        torch.manual_seed(place)
        network = NETWORKS[read_metadata(model).member.network](VIEWS * 3)
        replace_weights(model, save(network.state_dict()))
    finish_run(run)
    return run


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def test_a_student_is_trained_scored_and_takes_the_place_of_the_ensemble(run, monkeypatch, capsys):
    taught, train = [], distil.train

    def note(*arguments, targets, **options):
        taught.append(targets)
        train(*arguments, targets=targets, **options)

    monkeypatch.setattr(distil, "train", note)
    assert main(None, ["distil", str(run), *QUICK]) == 0
    printed = capsys.readouterr().out
    content = json.loads((run / "student" / "student.json").read_text())
    assert f"{content['scores']['student']['score']:.4f}" in printed and "times as fast" in printed
    assert not (run / "student.work").exists()
    shutil.rmtree(run / "averaged")  # which no run leaves
    check_out(run, force=True)  # it takes everything in it for the output of a run

    clips = read_clips(run / "spectrograms")
    parts = dict(zip(clips["clip"], clips["part"], strict=True))
    predictions, _ = read_ensemble(run)
    out_of_fold = {
        clip: scores
        for clip, part, member, scores in zip(
            *(predictions.rows[name] for name in ("clip", "part", "member")), predictions.scores, strict=True
        )
        if (part, member) == ("validation", ENSEMBLE)
    }
    [targets] = taught
    assert set(targets.clips) == {clip for clip, part in parts.items() if part in ("curated", "noisy")}
    known = read_spectrograms(run / "spectrograms", parts=["curated", "noisy"])
    spectrograms = [known.frames[a:b] for a, b in zip(known.offsets, known.offsets[1:], strict=False)]
    by_all = dict(zip(known.clips["clip"], load_tagger(run).score(spectrograms), strict=True))
    labels = dict(zip(known.clips["clip"], label_table(known.clips["labels"].tolist(), known.classes), strict=True))
    taught = {clip: out_of_fold.get(clip, scores) for clip, scores in by_all.items()}
    curated = [clip for clip in targets.clips if parts[clip] == "curated"]
    scores, right = (np.stack([each[clip] for clip in curated]).ravel() for each in (taught, labels))
    curve = fit_platt(scores, right > 0)
    for clip, scores in zip(targets.clips, targets.scores, strict=True):
        share = 0.1 if parts[clip] == "curated" else 0
        expected = (1 - share) * calibrate(taught[clip][:, None], [curve])[:, 0] + share * labels[clip]
        assert scores == pytest.approx(expected, abs=1e-5)
    assert 0 < len(out_of_fold) < 6

    student = load_tagger(run / "student")
    test = read_spectrograms(run / "spectrograms", parts=["test"])
    spectrograms = [test.frames[a:b] for a, b in zip(test.offsets, test.offsets[1:], strict=False)]
    own, averaging = read_ensemble(run / "student")
    expected = dict(zip(test.clips["clip"], student.score(spectrograms), strict=True))
    rows = own.rows[(own.rows["member"] == ENSEMBLE) & (own.rows["part"] == "test")]
    assert len(rows) == 6 and averaging.weights == {"student": 1.0}
    for clip, scores in zip(rows["clip"], own.scores[rows.index], strict=True):
        assert scores == pytest.approx(expected[clip], abs=1e-6)


def test_an_interrupted_command_resumes(run, monkeypatch, capsys):
    def interrupted(*args, **options):
        raise SystemExit(TERMINATED)

    with monkeypatch.context() as patch:
        patch.setattr(distil, "train", interrupted)
        with pytest.raises(SystemExit):
            main(None, ["distil", str(run), *QUICK])
    assert not (run / "student").exists()
    monkeypatch.setattr(distil, "_score_all", lambda *arguments: pytest.fail("scored again"))
    assert main(None, ["distil", str(run), *QUICK]) == 0
    assert (run / "student" / "student.json").exists()


def test_without_labelled_test_clips_and_folds_it_learns_and_says_that_it_is_not_scored(tmp_path, capsys):
    run = make_run(tmp_path / "run", test_labels=False, folds=[-1])
    assert main(None, ["distil", str(run), *QUICK]) == 0
    assert "not scored: there are no labelled test clips" in capsys.readouterr().out
    assert json.loads((run / "student" / "student.json").read_text())["scores"] is None


def average_ranks(run):
    shutil.rmtree(run / "averaged")
    finish_run(run, mean="rank")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda run: (run / "student").mkdir(), [], "student exists already; replace it with --force"),
        (
            lambda run: (run / "predictions").rename(run / "moved"),
            [],
            "expected the output of a run, found no predictions",
        ),
        (average_ranks, [], "expected an ensemble whose scores are probabilities"),
        (lambda run: None, ["--member", "x"], "expected a model of x, found xresnet18ssa-focal"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run, capsys, change, options, message):
    change(run)
    assert main(None, ["distil", str(run), *options]) == 2
    assert message in capsys.readouterr().err
