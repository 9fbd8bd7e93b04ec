"""The model card says what the run says."""

import html
import json
import re

import pytest
import yaml
from helpers.fabricated import fabricate_run, finish_run, models_of

from audiotagging.artifacts.averaging import Averaging, read_averaging
from audiotagging.artifacts.calibration import Calibration, Curve, Threshold
from audiotagging.artifacts.model_folder import read_metadata
from audiotagging.export.model_card import model_card, read_scores

pytestmark = pytest.mark.usefixtures("blank_plots")

FILES = {"ensemble.onnx": "0" * 64, "tagger.onnx": "1" * 64}
RUNS = {
    "scored": {"test": True, "folds": (0, 1)},
    "without folds": {"test": True, "folds": (-1,)},
    "out of fold": {"test": False, "folds": (0, 1)},
    "unscored": {"test_labels": False, "folds": (-1,)},
}


@pytest.fixture(scope="module", params=RUNS)
def finished(request, tmp_path_factory):
    """A run that is complete, and its kind."""
    folder = tmp_path_factory.mktemp("run")
    run = fabricate_run(folder, pictures=False, classes=5, **RUNS[request.param])
    finish_run(run)
    return request.param, run


def card_of(run, *, scores=True, student=None):
    facts = [read_metadata(path) for path in models_of(run)]
    return model_card(
        facts,
        averaging=read_averaging(run, classes=facts[0].classes),
        scores=read_scores(run) if scores else None,
        student=student,
        files=FILES,
        opset=20,
        difference=2e-7,
    )


def table(card, heading):
    """Return the cells of the first table of a section by the first one of their row."""
    section = card.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines() if line[:2] == "| "
    ]
    return {row[0].strip(): row[1:] for row in rows[1:]}


def test_the_card_has_the_scores_with_their_intervals(finished):
    kind, run = finished
    card, scores = card_of(run), json.loads((run / "scores.json").read_text())
    if kind == "unscored":
        assert "scored" not in scores and "Not scored: no test clip had labels, and no fold was held out." in card
        assert table(card, "Metrics") == {}
        return
    estimates = scores["estimates"][scores["scored"]]
    systems = {"ensemble": estimates["ensemble"], **estimates["members"]}
    assert {name: row[:2] for name, row in table(card, "Metrics").items()} == {
        name: [f"{each['score']:.4f}", f"{each['low']:.4f} to {each['high']:.4f}"] for name, each in systems.items()
    }
    assert f"{estimates['clips']} {'out-of-fold' if kind == 'out of fold' else 'test'} clips" in card


def test_the_header_is_yaml_with_the_score(finished):
    kind, run = finished
    header = yaml.safe_load(card_of(run).split("---\n")[1])
    assert header["library_name"] == "onnx" and header["pipeline_tag"] == "audio-classification"
    assert ("model-index" in header) == (kind != "unscored")
    if kind != "unscored":
        scores = json.loads((run / "scores.json").read_text())
        (metric,) = header["model-index"][0]["results"][0]["metrics"]
        assert metric["value"] == pytest.approx(scores["estimates"][scores["scored"]]["ensemble"]["score"], abs=1e-4)


def test_the_card_has_data_recipe_classes_and_checksums(finished):
    _, run = finished
    card, scores = card_of(run), json.loads((run / "scores.json").read_text())
    facts = [read_metadata(path) for path in models_of(run)]
    assert {name: int(row[0].replace(" ", "")) for name, row in table(card, "Training data").items()} == {
        part["part"]: part["clips"] for part in scores["data"]["parts"]
    }
    recipe = table(card, "Model details")
    for each in facts:
        assert recipe[each.member.id][:3] == [each.member.network, each.member.loss, str(each.member.epochs)]
        assert each.fingerprint in card and all(version in card for version in each.versions.values())
    assert ", ".join(html.escape(label, quote=False) for label in facts[0].classes) in card
    assert re.findall("^([0-9a-f]{64})  (.*)$", card, re.MULTILINE) == [
        (digest, name) for name, digest in FILES.items()
    ]
    assert "2.0e-07" in card


def test_without_folds_there_are_no_thresholds(finished):
    kind, run = finished
    averaging = json.loads((run / "ensemble.json").read_text())
    assert (averaging["calibration"] is None) == (kind in ("without folds", "unscored"))
    assert ("None: no fold was held out" in card_of(run)) == (averaging["calibration"] is None)


def test_thresholds_are_those_of_the_ensemble(tmp_path):
    run = fabricate_run(tmp_path, pictures=False, classes=2, clips=4)
    classes = read_metadata(models_of(run)[0]).classes
    curve = Curve([-1.0, 1.0], [-1.0, 1.0])
    thresholds = [
        Threshold(promised, score, clips=20, precision=0.98, low=0.96, high=0.99, recall=0.5)
        for promised, score in ((0.8, 0.25), (0.95, 0.75))
    ]
    calibration = Calibration("platt", {}, False, dict.fromkeys(classes, curve))
    members = {read_metadata(path).member.id for path in models_of(run)}
    weights = dict.fromkeys(members, 1 / len(members))
    averaging = Averaging("arithmetic", weights, calibration, {classes[0]: thresholds, classes[1]: []})
    facts = [read_metadata(path) for path in models_of(run)]
    card = model_card(facts, averaging=averaging, scores=None, student=None, files=FILES, opset=20, difference=0)
    shown = [html.escape(label, quote=False) for label in classes]
    lines = [line for line in card.splitlines() if line.startswith(tuple(f"| {label} |" for label in shown))]
    assert lines == [f"| {shown[0]} | 0.2500 |  | 0.7500 |", f"| {shown[1]} |  |  |  |"]
    assert "by platt calibration" in card


def test_without_the_scores_of_the_run_the_card_says_so(finished):
    card = card_of(finished[1], scores=False)
    assert "scores are not recorded" in card and "clips and hours are not recorded" in card
    assert table(card, "Metrics") == table(card, "Training data") == {}


COMPARED = {
    name: {"score": score, "low": score - 0.01, "high": score + 0.01}
    for name, score in {
        "student": 0.9302,
        "ensemble": 0.9018,
        "alone": 0.8931,
        "student_minus_ensemble": 0.0284,
        "student_minus_alone": 0.0371,
        "gain": 0.0087,
    }.items()
}


@pytest.mark.parametrize("compared", [True, False])
def test_the_card_of_a_student_names_its_ensemble_and_compares_the_two(finished, compared):
    scores = {"clips": 156, "kept": None, **COMPARED} if compared else None
    student = {
        "like": "xresnet18ssa-bce",
        "learned": {"clips": 390, "labels": 0.1},
        "times_as_fast": 9.4,
        "scores": scores,
    }
    card = card_of(finished[1], scores=False, student=student)
    assert "one network like xresnet18ssa-bce, distilled from an ensemble" in card and "9.4 times as slow" in card
    assert "learned the ensemble's probabilities of 390 clips" in card
    assert "An ensemble of" not in card and "hours are not recorded" not in card
    header = yaml.safe_load(card.split("---\n")[1])
    if not compared:
        assert "Not scored: no test clip had labels." in card and "model-index" not in header
        return
    rows = table(card, "Metrics")
    assert rows["student"] == ["0.9302", "0.9202 to 0.9402"]
    assert rows["the ensemble that taught it"] == ["0.9018", "0.8918 to 0.9118"]
    assert rows["xresnet18ssa-bce alone"][0] == "0.8931" and rows["student - ensemble"][0] == "0.0284"
    (metric,) = header["model-index"][0]["results"][0]["metrics"]
    assert metric == {"type": "lwlrap", "value": 0.9302, "name": "lwlrap, 156 test clips"}
