import argparse
import json
import shutil

import numpy as np
import pytest
from helpers.fabricated import fabricate_run, finish_run

from audiotagging.artifacts.ensemble_folder import ENSEMBLE
from audiotagging.artifacts.predictions import Predictions, read_predictions, write_predictions
from audiotagging.artifacts.spectrogram_shards import ShardWriter, read_classes, read_clips, read_spectrograms
from audiotagging.base.errors import UserError
from audiotagging.evaluation.findings import findings
from audiotagging.members import REFERENCE
from audiotagging.report.evaluate_again import evaluate_again
from audiotagging.statistics.metrics import lwlrap
from commands.evaluate import run as run_command

pytestmark = pytest.mark.usefixtures("blank_plots")


def relabel(run, labels):
    """Give curated clips of a run other labels. Clips without labels are left out."""
    folder = run / "spectrograms"
    data = read_spectrograms(folder)
    pieces = np.split(data.frames, data.offsets[1:-1])
    shutil.rmtree(folder)
    with ShardWriter(folder, classes=data.classes) as writer:
        for clip, spectrogram in zip(data.clips.to_dict("records"), pieces, strict=True):
            del clip["frames"]
            clip["labels"] = labels.get(clip["clip"], clip["labels"])
            if labels.get(clip["clip"]) != []:
                writer.add(**clip, spectrogram=spectrogram)
    for path in (run / "predictions").iterdir():
        table = read_predictions(path)
        kept = table.rows["clip"].map(lambda clip: labels.get(clip) != []).to_numpy()
        write_predictions(path, Predictions(table.classes, table.rows[kept].reset_index(drop=True), table.scores[kept]))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of three members, and the same run with corrected labels of two clips and without a third one."""
    old = fabricate_run(tmp_path_factory.mktemp("old") / "run", clips=60)
    new = shutil.copytree(old, tmp_path_factory.mktemp("new") / "run")
    finish_run(old)
    clips = read_clips(new / "spectrograms")
    curated = clips[clips["part"] == "curated"]
    other = read_classes(new / "spectrograms")
    changed = {
        row.clip: [next(label for label in other if label not in row.labels)] for row in curated.iloc[:2].itertuples()
    }
    relabel(new, changed | {curated["clip"].iloc[2]: []})
    finish_run(new)
    return old, new


def test_corrections_and_their_gain_are_in_the_scores_the_report_and_the_terminal(runs, capsys):
    old, new = runs
    assert run_command(argparse.Namespace(out=new, baseline=None, audio=None, before=old)) == 0
    printed = capsys.readouterr().out
    scores = json.loads((new / "scores.json").read_text(encoding="utf-8"))
    before = scores["before"]
    clips = read_clips(old / "spectrograms")
    names = clips["clip"][clips["part"] == "curated"].tolist()
    assert before == {
        **{"set": "all", "clips": 60, "score": scores["ensemble"]["all"], "before": scores["ensemble"]["all"]},
        **{"difference": 0, "difference_low": 0, "difference_high": 0},
        "changes": [f"1 clip is gone ({names[2]})", f"2 clips have other labels ({names[0]} and {names[1]})"],
    }
    sentence = f"Changed since then: {'; '.join(before['changes'])}."
    assert sentence in printed and "not clearly different from the run before" in printed
    page = (new / "report.html").read_text(encoding="utf-8")
    assert "Not clearly different from the run before" in page and sentence in page
    assert evaluate_again(new)["before"] == before  # it is kept


def test_the_gain_is_that_of_the_ensembles_on_the_test_clips(runs, tmp_path):
    old, _ = runs
    new = shutil.copytree(old, tmp_path / "run")
    for path in [*(new / "models").iterdir(), *(new / "predictions").iterdir()]:
        if path.name.startswith(REFERENCE[2].id):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(new / "averaged")
    finish_run(new)
    before = evaluate_again(new, before=old)["before"]
    clips = read_clips(old / "spectrograms").set_index("clip")
    classes = read_classes(old / "spectrograms")
    found = []
    for run in (old, new):
        predictions = read_predictions(run / "predictions.parquet")
        chosen = ((predictions.rows["part"] == "test") & (predictions.rows["member"] == ENSEMBLE)).to_numpy()
        labels = clips["labels"][predictions.rows["clip"][chosen]]
        truth = np.array([[label in each for label in classes] for each in labels])
        found.append(lwlrap(truth, predictions.scores[chosen]))
    assert (before["before"], before["score"]) == pytest.approx(tuple(found))
    assert before["difference_low"] <= before["difference"] == pytest.approx(found[1] - found[0])
    assert before["difference"] <= before["difference_high"] and before["difference_low"] < before["difference_high"]
    assert before["changes"] == [f"it lacks {REFERENCE[2].id}"]
    assert f"Changed since then: it lacks {REFERENCE[2].id}." in " ".join(findings(evaluate_again(new)))


def test_what_an_earlier_version_counted_is_kept(runs, tmp_path):
    new = shutil.copytree(runs[1], tmp_path / "run")
    scores = evaluate_again(new, before=runs[0])
    del scores["before"]["changes"]
    scores["before"] |= {"corrected": 2, "left_out": 0, "rest_is_same": True}
    (new / "scores.json").write_text(json.dumps(scores))
    assert "Changed since then: curated clips with other labels: 2." in " ".join(findings(evaluate_again(new)))
    assert evaluate_again(new, before=new)["before"]["changes"] == []
    assert "Changed since then: nothing." in (new / "report.html").read_text(encoding="utf-8")


def test_another_run_is_refused_by_the_command(runs, tmp_path):
    other = fabricate_run(tmp_path / "other", classes=5, members=REFERENCE[:1])
    finish_run(other)
    with pytest.raises(UserError, match="expected a run with the same classes"):
        run_command(argparse.Namespace(out=other, baseline=None, audio=None, before=runs[0]))
