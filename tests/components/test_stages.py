"""Every stage's function, called once on what the stages before it would have left: the library is wired right."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
import torch
from helpers.data_folder import write_table
from helpers.fabricated import PLAIN, fabricate_run, models_of, predictions_of, replace_weights
from kfp.dsl import HTML, Dataset, Metrics, Model
from safetensors.torch import load_file, save

from audiotagging.artifacts import last_run
from audiotagging.artifacts.champions_folder import read_champion
from audiotagging.artifacts.excerpts import read_excerpts
from audiotagging.artifacts.model_folder import read_history, read_metadata, weights_path
from audiotagging.artifacts.predictions import read_predictions
from audiotagging.artifacts.selection import read_folds, read_noisy_clips, write_selection
from audiotagging.artifacts.spectrogram_shards import read_classes, read_clips, read_fingerprint
from audiotagging.base.errors import UserError
from audiotagging.ensemble.ensembling import ensemble as write_ensemble
from audiotagging.members import REFERENCE, rows
from audiotagging.training import supervisor
from audiotagging.training import train as training
from audiotagging.training.networks import NETWORKS
from audiotagging.training.train import train_row
from components.conclude import conclude
from components.ensemble import ensemble
from components.evaluate import evaluate
from components.ingest import ingest
from components.predict import predict
from components.preprocess import preprocess
from components.promote import promote
from components.rescore import rescore
from components.select import select
from components.train import train

pytestmark = pytest.mark.usefixtures("narrow_networks")

SHORT = replace(REFERENCE[0], epochs=2, size=32, batch_size=4, epoch_size=2)


@pytest.fixture
def run(tmp_path):
    return fabricate_run(tmp_path / "run", clips=20, classes=3, members=REFERENCE[:2])


@pytest.fixture
def in_this_process(monkeypatch):
    """Let the stage train here, where it can be looked at and changed."""
    monkeypatch.setattr(supervisor, "supervise", lambda function, **arguments: train_row(**arguments))


def artifact(kind, path):
    return kind(uri=str(path))


def costly(kind, path):
    """An artifact of a stage that took a minute."""
    return kind(uri=str(path), metadata=dict(COST))


def assert_cost(metadata):
    """What a stage cost is recorded, in types that Kubeflow keeps: text and numbers."""
    assert datetime.now(UTC) - datetime.fromisoformat(metadata["started"]) < timedelta(minutes=10)
    assert 0 < metadata["seconds"] < 600 and 0 < metadata["cpu_seconds"] < 6000
    assert 1e7 < metadata["peak_bytes"] < 1e11
    assert {type(metadata[name]) for name in ("seconds", "cpu_seconds", "peak_bytes")} == {float}


STARTED = datetime(2026, 1, 1, tzinfo=UTC)
COST = {"started": STARTED.isoformat(), "seconds": 60.0, "cpu_seconds": 100.0, "peak_bytes": 5e8}


def row_of(member, fold):
    """Return a row as it arrives: numbers have become floats."""
    (row,) = rows([member], [fold])
    return {name: float(value) if type(value) is int else value for name, value in row.items()}


def call_train(run, out, *, fold=0, metrics=None, **changes):
    model = artifact(Model, out)
    options = {"seed": 1, "init": {}, "checkpoints": "", "champions": "", "warm_start": 0.0}
    train.python_func(
        row=row_of(SHORT, fold),
        spectrograms=artifact(Dataset, run / "spectrograms"),
        selection=artifact(Dataset, run / "selection"),
        model=model,
        metrics=metrics or artifact(Metrics, out.with_suffix(".metrics")),
        **options | changes,
    )
    return model


# Arguments that `ingest` compares with those of the last run.
COMPARED = {
    "keep_audio": False,
    "verify": 0,
    "mean": "arithmetic",
    "weights": "equal",
    "champions": "",
    "promotion": "not-worse",
    "margin": 0.01,
    "warm_start": 0.0,
    "if_changed": False,
}


def test_ingest_and_preprocess(data, tmp_path):
    write_table(tmp_path / "corrections.csv", ("fname", "labels"), ("c00.wav", "Meow,Tap_running"))
    corrections = [str(tmp_path / "corrections.csv")]
    options = {"downloads": str(tmp_path / "downloads"), "corrections": corrections, "reading": {}, "max_rejected": 0.0}
    options |= {"test_share": 0.0, "seed": 7, "init": "", **COMPARED}
    with pytest.raises(UserError, match="no curated clip is in fold 7"):
        ingest.python_func(data=str(data), rows=[row_of(SHORT, 7)], noisy="all", **options)
    cases = (("agreement", {"curated", "noisy", "test"}, False), ("none", {"curated", "test"}, True))
    for noisy, parts, keep_audio in cases:
        found = ingest.python_func(data=str(data), rows=[row_of(SHORT, 4)], noisy=noisy, **options)
        assert found.folder == str(data) and found.noisy_choice["noisy"] == noisy and found.init == {}
        given = {"folder": found.folder, "noisy_part": found.noisy_part, "corrections": corrections, "reading": {}}
        given |= {
            "downloads": options["downloads"],
            "max_rejected": 0.0,
            "test_share": 0.0,
            "split_seed": found.split_seed,
            "keep_audio": keep_audio,
            "verify": 0,
        }
        assert found.split_seed == 0  # so that preprocess need not run again for another seed
        out = artifact(Dataset, tmp_path / noisy)
        with pytest.raises(UserError, match="has changed since ingest read it"):
            preprocess.python_func(fingerprint="another", spectrograms=out, **given)
        preprocess.python_func(fingerprint=found.fingerprint, spectrograms=out, **given)
        assert read_fingerprint(tmp_path / noisy) == found.fingerprint
        assert_cost(found.cost)
        assert_cost(out.metadata)
        clips = read_clips(tmp_path / noisy)
        assert set(clips["part"]) == parts | {"disturbance"}
        assert clips["labels"][clips["clip"] == "c00.wav"].tolist() == [["Meow", "Tap_running"]]
        excerpts = read_excerpts(tmp_path / noisy, clips=clips["clip"])
        recorded = set(clips["clip"][clips["part"] != "disturbance"])
        assert set(excerpts) == (recorded if keep_audio else set())


def test_preprocess_draws_the_test_clips_of_ingest(sounds, tmp_path):
    folder = sounds(*(f"{label}/{number}.wav" for label in ("cat", "dog") for number in range(5)))
    options = {"noisy": "all", "corrections": [], "reading": {}, "max_rejected": 0.0, "test_share": 0.2}
    downloads = str(tmp_path / "downloads")
    found = ingest.python_func(
        data=str(folder), rows=[row_of(SHORT, -1)], downloads=downloads, seed=7, init="", **options, **COMPARED
    )
    given = options | {"split_seed": found.split_seed, "noisy_part": found.noisy_part, "keep_audio": False, "verify": 0}
    given["downloads"] = downloads
    del given["noisy"]
    out = artifact(Dataset, tmp_path / "spectrograms")
    preprocess.python_func(folder=found.folder, fingerprint=found.fingerprint, spectrograms=out, **given)
    parts = read_clips(tmp_path / "spectrograms")["part"]
    assert list(parts[parts != "disturbance"]) == ["curated"] * 8 + ["test"] * 2
    assert read_fingerprint(tmp_path / "spectrograms") == found.fingerprint


def test_ingest_describes_the_weights_to_start_with_by_their_content(data, run, tmp_path):
    options = {
        "data": str(data),
        "rows": [row_of(SHORT, 4)],
        "noisy": "none",
        "corrections": [],
        "reading": {},
        "max_rejected": 0.0,
    }
    options |= {"downloads": str(tmp_path / "downloads"), "test_share": 0.0, "seed": 7, **COMPARED}
    weights = tmp_path / "weights.pth"
    with pytest.raises(UserError, match=r"--init .*weights.pth: expected a file of weights"):
        ingest.python_func(init=str(weights), **options)
    digests = set()
    for content in (b"one", b"another", b"one"):
        weights.write_bytes(content)
        found = ingest.python_func(init=str(weights), **options).init
        assert found["path"] == str(weights)
        digests.add(found["sha256"])
    assert len(digests) == 2
    assert ingest.python_func(init=str(run / "models"), **options).init["path"] == str(run / "models")


@pytest.fixture
def again(data, tmp_path, monkeypatch):
    """Return a function that calls `ingest` as by a schedule, with other arguments than before or the same ones."""
    monkeypatch.setenv(last_run.IMAGES, "audiotagging-data:1 audiotagging-training:1")
    (tmp_path / "champions").mkdir()
    (tmp_path / "champions" / "history.json").write_text("[]")
    options = {"data": str(data), "rows": [row_of(SHORT, 4)], "downloads": str(tmp_path / "downloads"), "seed": 7}
    options |= {"noisy": "none", "corrections": [], "reading": {}, "max_rejected": 0.0, "test_share": 0.0, "init": ""}
    options |= COMPARED | {"champions": str(tmp_path / "champions"), "if_changed": True}
    return lambda **changes: ingest.python_func(**options | changes)


def test_a_run_has_work_until_one_like_it_has_ended_well(again, tmp_path, caplog):
    caplog.set_level("INFO")
    assert again().work == again().work == 1  # the first one is still running, or failed
    assert "no earlier run with these champions is known to have ended well" in caplog.text
    conclude.python_func(inputs=again().inputs, champions=str(tmp_path / "champions"), run="run-1")
    caplog.clear()
    assert again().work == 0 and "nothing new since run run-1" in caplog.text
    assert again(if_changed=False).work == again(champions="", if_changed=True).work == 1


CHANGES = [
    {"seed": 8},
    {"rows": [row_of(SHORT, 3)]},
    {"rows": [row_of(replace(SHORT, epochs=3), 4)]},
    {"noisy": "all"},
    {"max_rejected": 0.5},
    *({name: value} for name, value in (("keep_audio", True), ("verify", 1), ("mean", "rank"), ("weights", "fitted"))),
    *({name: value} for name, value in (("promotion", "never"), ("margin", 0.02), ("warm_start", 0.5))),
]


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: next(iter(changes)))
def test_other_arguments_are_news(again, tmp_path, changes, caplog):
    caplog.set_level("INFO")
    conclude.python_func(inputs=again().inputs, champions=str(tmp_path / "champions"), run="run-1")
    assert again(**changes).work == 1
    assert next(iter(changes)) in caplog.messages[-1].partition("which ended well: ")[2]
    conclude.python_func(inputs=again(**changes).inputs, champions=str(tmp_path / "champions"), run="run-2")
    assert again(**changes).work == 0 and again().work == 1  # that is what the last run was of


@pytest.mark.parametrize("what", ["images", "data", "corrections", "init", "champions", "unreadable"])
def test_what_has_changed_in_the_world_is_news(again, data, tmp_path, monkeypatch, what):
    champions, corrections, weights = (tmp_path / name for name in ("champions", "corrections.csv", "weights.pth"))
    write_table(corrections, ("fname", "labels"), ("c00.wav", "Meow"))
    weights.write_bytes(b"one")
    options = {"corrections": [str(corrections)], "init": str(weights)}
    conclude.python_func(inputs=again(**options).inputs, champions=str(champions), run="run-1")
    assert again(**options).work == 0
    if what == "images":
        monkeypatch.setenv(last_run.IMAGES, "audiotagging-data:2 audiotagging-training:1")
    elif what == "data":
        sound = next((data / "train_curated").iterdir())
        sound.write_bytes(sound.read_bytes()[:-2])
    elif what == "corrections":
        write_table(corrections, ("fname", "labels"), ("c00.wav", "Meow,Tap_running"))
    elif what == "init":
        weights.write_bytes(b"another")
    elif what == "champions":  # pinned, rolled back, or another run's
        (champions / "history.json").write_text("[{}]")
    else:
        (champions / last_run.NAME).write_text("{")
    assert again(**options).work == 1


def test_train_begins_with_the_weights_that_ingest_describes(run, tmp_path, monkeypatch, in_this_process):
    """They are of another member of the same network, and of one of the three classes."""
    torch.manual_seed(7)
    source = fabricate_run(tmp_path / "source", clips=4, classes=1, members=[REFERENCE[2], REFERENCE[1]], folds=[-1])
    network = NETWORKS[SHORT.network](4)
    for path in models_of(source):
        replace_weights(path, save(network.state_dict()))
    monkeypatch.setattr("audiotagging.training.loop.one_cycle", lambda step, *, steps, lr: (0.0, 0.9))  # learns nothing
    call_train(run, tmp_path / "model", init={"path": str(source / "models"), "sha256": "any"})
    weights = load_file(weights_path(tmp_path / "model"))
    assert torch.equal(weights["body.0.0.weight"], network.state_dict()["body.0.0.weight"])
    shared = read_classes(run / "spectrograms").index(read_classes(source / "spectrograms")[0])
    assert torch.equal(weights["head.2.weight"][shared::3], network.state_dict()["head.2.weight"])
    start = read_metadata(tmp_path / "model").start
    assert start.source == str(source / "models" / f"{REFERENCE[2].id}-fold-1")
    assert [each.partition(" of ")[0] for each in start.new] == ["head.2.weight", "head.2.bias"]
    assert start.sha256 == read_metadata(Path(start.source)).sha256


def test_select(run, tmp_path):
    options = {"seed": 1, "spectrograms": artifact(Dataset, run / "spectrograms")}
    selection = artifact(Dataset, tmp_path / "all")
    select.python_func(noisy_choice={"noisy": "all"}, selection=selection, **options)
    assert_cost(selection.metadata)
    assert len(read_noisy_clips(tmp_path / "all")) == 20
    agreeing = artifact(Dataset, tmp_path / "agreeing")
    select.python_func(noisy_choice={"noisy": "agreement"}, selection=agreeing, **options)
    assert 0 < len(read_noisy_clips(tmp_path / "agreeing")) < 20
    assert read_folds(tmp_path / "agreeing") == read_folds(tmp_path / "all") == read_folds(run / "selection")


def test_train(run, tmp_path, in_this_process):
    metrics = artifact(Metrics, tmp_path / "metrics")
    model = call_train(run, tmp_path / "model", metrics=metrics)
    assert model.metadata.items() >= {"member": SHORT.id, "fold": 0}.items()
    assert_cost(model.metadata)
    facts = read_metadata(tmp_path / "model")
    assert (facts.member, facts.fold, facts.seed) == (SHORT, 0, 1)
    assert facts.classes == read_classes(run / "spectrograms")
    history = read_history(tmp_path / "model")
    assert len(history) == 2
    assert metrics.metadata == {"loss": history["loss"].iloc[-1], "lwlrap": history["lwlrap"].iloc[-1]}
    assert json.loads(Path(metrics.path).read_text(encoding="utf-8")) == metrics.metadata


def test_train_takes_the_chosen_noisy_clips_and_resumes_only_the_same_run(run, tmp_path, monkeypatch, in_this_process):
    seen = []
    run_identity = training.run_identity
    monkeypatch.setattr(training, "run_identity", lambda *args, **kw: seen.append(kw) or run_identity(*args, **kw))
    chosen = list(read_noisy_clips(run / "selection")["fname"])
    checkpoints = tmp_path / "checkpoints"
    with monkeypatch.context() as patch:
        patch.setattr(training, "write_model", lambda *args, **kw: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            call_train(run, tmp_path / "model", checkpoints=str(checkpoints))
    (kept,) = checkpoints.iterdir()
    folds = read_folds(run / "selection")
    write_selection(run / "selection", folds=folds, noisy_clips=pd.DataFrame({"fname": chosen[:1]}))
    call_train(run, tmp_path / "other", checkpoints=str(checkpoints))
    assert {frozenset(each["held_out"]) for each in seen} == {
        frozenset(clip for clip, fold in folds.items() if fold == 0)
    }
    assert [sorted(each["noisy_clips"]) for each in seen] == [sorted(chosen), chosen[:1]]
    assert list(checkpoints.iterdir()) == [kept]  # it had a folder of its own, which is gone


def test_train_begins_with_the_champion(run, tmp_path, monkeypatch, in_this_process):
    whole = fabricate_run(tmp_path / "whole", clips=20, classes=3, members=[SHORT], folds=[-1])
    torch.manual_seed(7)
    champion = NETWORKS[SHORT.network](4 * 3)
    for path in models_of(whole):
        replace_weights(path, save(champion.state_dict()))
    write_ensemble(predictions_of(whole), spectrograms=whole / "spectrograms", out=whole / "averaged", **PLAIN)
    call_promote(whole, tmp_path / "champions")

    monkeypatch.setattr("audiotagging.training.loop.one_cycle", lambda step, *, steps, lr: (0.0, 0.9))  # learns nothing
    metrics = artifact(Metrics, tmp_path / "metrics")
    options = {"champions": str(tmp_path / "champions"), "warm_start": 0.5}
    call_train(whole, tmp_path / "model", fold=-1, metrics=metrics, **options)
    assert set(metrics.metadata) == {"loss"}  # Kubeflow takes no NaN
    name = "body.0.0.weight"
    assert torch.equal(load_file(weights_path(tmp_path / "model"))[name], champion.state_dict()[name])
    assert read_metadata(tmp_path / "model").member == replace(SHORT, epochs=1)


def call_promote(run, champions, **options):
    """Call `rescore` and `promote`, and return what the latter decided."""
    champions = str(champions) if champions else ""
    inputs = {"averaged": run / "averaged", "spectrograms": run / "spectrograms"}
    inputs = {name: artifact(Dataset, path) for name, path in inputs.items()}
    rescored, promotion = artifact(Dataset, run / "rescored"), artifact(Dataset, run / "promotion.json")
    rescore.python_func(champions=champions, rescored=rescored, **inputs)
    promote.python_func(
        models=[artifact(Model, path) for path in models_of(run)],
        selection=artifact(Dataset, run / "selection"),
        rescored=rescored,
        champions=champions,
        promotion=promotion,
        **inputs,
        **{"policy": "not-worse", "margin": 0.01, "run": "a run"} | options,
    )
    for metadata in (rescored.metadata, promotion.metadata):
        assert_cost(metadata)
    return promotion


def test_train_and_predict_hold_out_the_fold_of_the_selection(run, tmp_path, in_this_process):
    moved = {clip: 1 - fold for clip, fold in read_folds(run / "selection").items()}
    write_selection(run / "selection", folds=moved, noisy_clips=read_noisy_clips(run / "selection"))
    model = call_train(run, tmp_path / "model", fold=1)
    model.metadata["display_name"] = "what Kubeflow calls the model"
    predictions = artifact(Dataset, tmp_path / "predictions")
    predict.python_func(
        model=model,
        spectrograms=artifact(Dataset, run / "spectrograms"),
        selection=artifact(Dataset, run / "selection"),
        predictions=predictions,
    )
    found = read_predictions(tmp_path / "predictions").rows
    clips = read_clips(run / "spectrograms")
    held_out = {clip for clip, fold in moved.items() if fold == 1}
    assert set(found["clip"]) == held_out | set(clips["clip"][clips["part"].isin(["test", "disturbance"])])
    assert predictions.metadata.items() >= {"member": SHORT.id, "fold": 1}.items()
    assert_cost(predictions.metadata)


def test_ensemble_promote_and_evaluate(run, tmp_path):
    averaged, spectrograms = artifact(Dataset, run / "averaged"), artifact(Dataset, run / "spectrograms")
    ensemble.python_func(
        predictions=[costly(Dataset, path) for path in predictions_of(run)],
        spectrograms=spectrograms,
        mean="geometric",
        weights="fitted",
        averaged=averaged,
    )
    assert json.loads((run / "averaged" / "ensemble.json").read_text())["mean"] == "geometric"

    assert json.loads(Path(call_promote(run, None).path).read_text(encoding="utf-8")) == {}
    promotion = call_promote(run, tmp_path / "champions")
    decided = json.loads(Path(promotion.path).read_text(encoding="utf-8"))
    decision = decided["decision"]
    assert decided["history"][-1]["decision"] == decision and decided["history"][-1]["run"] == "a run"
    assert decision["promoted"] and read_champion(tmp_path / "champions")["version"] == decision["version"]

    scores, report = artifact(Metrics, tmp_path / "scores.json"), artifact(HTML, tmp_path / "report.html")
    evaluate.python_func(
        averaged=averaged,
        models=[costly(Model, path) for path in models_of(run)],
        spectrograms=costly(Dataset, run / "spectrograms"),
        selection=costly(Dataset, run / "selection"),
        promotion=promotion,
        ingested=COST | {"seconds": 2.0},
        command="audiotagging run --data 'my sounds'",
        scores=scores,
        report=report,
        audit=artifact(Dataset, tmp_path / "audit"),
    )
    assert {path.name for path in (tmp_path / "audit").iterdir()} == {"suspicious.csv", "audit.html"}
    written = json.loads(Path(scores.path).read_text(encoding="utf-8"))
    sets = ("all", "public", "private", "out_of_fold")
    expected = {f"lwlrap_{name}": written["ensemble"][name] for name in sets}
    for member in REFERENCE[:2]:
        expected |= {f"lwlrap_{name}_{member.id}": written["members"][member.id][name] for name in sets}
    expected |= {f"lwlrap_{name}_linear": written["linear"][name] for name in sets}
    for system, precisions in written["mean_average_precision"].items():
        suffix = "" if system == "ensemble" else f"_{system}"
        expected |= {f"map_{name}{suffix}": precisions[name] for name in sets}
    assert scores.metadata == expected
    origin = written["origin"]
    assert origin["command"] == "audiotagging run --data 'my sounds'" and origin["started"] == COST["started"]
    assert origin["seconds"] == (datetime.fromisoformat(origin["finished"]) - STARTED).total_seconds()
    assert [(stage["stage"], stage["seconds"]) for stage in origin["stages"]][:5] == [
        *(("ingest", 2.0), ("preprocess", 60.0), ("select", 60.0), ("train", 240.0), ("predict", 240.0))
    ]  # two members, each with two folds
    assert [stage["stage"] for stage in origin["stages"]][5:] == ["ensemble", "rescore", "promote", "evaluate"]
    assert origin["gpu_seconds"] == 0 and origin["cpu_seconds"] > 1100 and origin["peak_bytes"] >= 5e8
    assert written["promotion"] == decision and written["champions"] == decided["history"]
    assert "</html>" in Path(report.path).read_text(encoding="utf-8")
