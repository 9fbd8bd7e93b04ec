import json
import multiprocessing
import os
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from helpers.champion_runs import hot, inputs_of, make_equal_runs, make_run, make_unequal_runs, promote_run
from helpers.fabricated import fabricate_run, models_of, replace_weights
from helpers.tiny_ensemble import tag_options

from audiotagging.artifacts.acoustics import Acoustics
from audiotagging.artifacts.acoustics_table import read_acoustics, write_acoustics
from audiotagging.artifacts.champions_folder import champion_folder, read_champion
from audiotagging.artifacts.ensemble_folder import read_version
from audiotagging.artifacts.predictions import Predictions, read_predictions, write_predictions
from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.base.errors import UserError
from audiotagging.champions.promotion import accept, promote
from audiotagging.champions.versions import compare_predictions
from audiotagging.ensemble.ensembling import ENSEMBLE
from audiotagging.members import REFERENCE
from audiotagging.statistics.metrics import lwlrap
from audiotagging.tagging import torch_networks
from audiotagging.training.starting_weights import starting_point
from commands import tag

MEMBER = REFERENCE[0]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return make_unequal_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def equal_runs(tmp_path_factory):
    return make_equal_runs(tmp_path_factory.mktemp("equal"))


def test_the_first_ensemble_promotes_itself_with_all_that_is_needed_to_use_it(tmp_path, runs):
    champions = tmp_path / "models"
    decision = promote_run(runs["bad"], champions)
    assert decision["promoted"] and decision["champion"] == "" and "no champion yet" in decision["reason"]
    folder = champion_folder(champions)
    assert folder == champions / "versions" / decision["version"]
    assert {path.name for path in (folder / "models").iterdir()} == {path.name for path in models_of(runs["bad"])}
    for model in models_of(runs["bad"]):
        for file in model.iterdir():
            assert (folder / "models" / model.name / file.name).read_bytes() == file.read_bytes()
    for file in (runs["bad"] / "averaged").iterdir():
        assert (folder / file.name).read_bytes() == file.read_bytes()
    assert not list(champions.rglob("*.part"))


def test_the_acoustics_of_the_clips_are_kept_where_there_are_any(tmp_path, runs):
    run = tmp_path / "run"
    shutil.copytree(runs["good"], run)
    promote_run(run, tmp_path / "old")
    assert read_acoustics(champion_folder(tmp_path / "old")) is None
    write_acoustics(run / "spectrograms", [("a.wav", "test", Acoustics(-20, 40, 9000, 1))])
    promote_run(run, tmp_path / "new")
    kept = read_acoustics(champion_folder(tmp_path / "new"))
    assert kept.equals(read_acoustics(run / "spectrograms"))


def test_a_better_one_takes_the_champions_place_and_a_worse_one_does_not(tmp_path, runs):
    bad = promote_run(runs["bad"], tmp_path)
    good = promote_run(runs["good"], tmp_path)
    assert good["promoted"] and good["champion"] == bad["version"] and good["reason"].startswith("Promoted: better")
    assert read_champion(tmp_path)["version"] == good["version"]

    again = promote_run(runs["bad"], tmp_path)
    assert not again["promoted"] and again["champion"] == good["version"]
    assert again["reason"].startswith("Not promoted: worse than the best champion by more than 0.01, ")
    assert again["comparison"]["high"] < 0
    assert read_champion(tmp_path)["version"] == good["version"]


def test_an_equal_one_takes_the_champions_place(tmp_path, runs):
    promote_run(runs["good"], tmp_path)
    twin = make_run(tmp_path / "twin", seed=2)  # the same scores by other weights
    decision = promote_run(twin, tmp_path)
    assert decision["promoted"] and "not worse than" in decision["reason"]
    assert decision["comparison"]["difference"] == 0
    assert read_champion(tmp_path)["version"] == decision["version"] != decision["champion"]


def test_the_pointer_says_what_was_decided_and_since_when(tmp_path, runs):
    promote_run(runs["bad"], tmp_path)
    started = datetime.now(UTC)
    decision = promote_run(runs["good"], tmp_path)
    pointer = json.loads((tmp_path / "champion.json").read_text())
    assert pointer.pop("best") == decision["version"] and pointer.pop("pinned") is False
    since = datetime.fromisoformat(pointer.pop("since"))
    assert timedelta(seconds=-1) < since - started < timedelta(seconds=60) and since.microsecond == 0
    assert pointer == decision
    compared = decision["comparison"]
    assert decision["reason"] == (
        f"Promoted: better than the best champion, with an lwlrap of {compared['score']:.4f} against "
        f"{compared['champion']:.4f} on {compared['clips']} clips (difference {compared['difference']:+.4f}, "
        f"95 % interval {compared['low']:+.4f} to {compared['high']:+.4f})."
    )


def test_the_champion_itself_changes_nothing(tmp_path, runs):
    promote_run(runs["bad"], tmp_path)
    first = promote_run(runs["good"], tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("[!.]*.*") if path.is_file()}
    assert promote_run(runs["good"], tmp_path) == first and "comparison" in first
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_order_of_the_models_changes_no_version(tmp_path, runs):
    first = promote_run(runs["good"], tmp_path)
    reordered = models_of(runs["good"])[::-1]
    again = promote(runs["good"] / "averaged", **inputs_of(runs["good"]) | {"models": reordered}, champions=tmp_path)
    assert again == first and len(list((tmp_path / "versions").iterdir())) == 1


@pytest.mark.parametrize("file", ["averaged/predictions.parquet", "models/{model}/weights.safetensors"])
def test_other_predictions_or_weights_are_another_version(tmp_path, file):
    run = make_run(tmp_path / "run")
    first = promote_run(run, tmp_path / "first")
    path = run / file.format(model=models_of(run)[-1].name)
    if path.suffix == ".parquet":
        table = read_predictions(path)
        write_predictions(path, Predictions(table.classes, table.rows, table.scores / 2))
    else:
        replace_weights(path.parent, b"other")
    assert promote_run(run, tmp_path / "second")["version"] != first["version"]


def test_an_ensemble_has_the_same_version_before_it_is_promoted_and_afterwards(tmp_path, runs):
    out = tmp_path / "out"  # as the command `run` leaves it
    shutil.copytree(runs["good"] / "averaged", out)
    shutil.copytree(runs["good"] / "models", out / "models")
    version = promote_run(runs["good"], tmp_path / "champions")["version"]
    champion = champion_folder(tmp_path / "champions")
    assert [read_version(path) for path in (out, out / "models", champion)] == [version] * 3
    (out / "models").rename(tmp_path / "models")  # without predictions, the weights count alone
    assert (
        re.fullmatch("[0-9a-f]{16}", read_version(tmp_path / "models")) and read_version(tmp_path / "models") != version
    )


@pytest.mark.parametrize(("test_labels", "name", "part"), [(True, "all", "test"), (False, "out_of_fold", "validation")])
def test_the_comparison_is_that_of_lwlrap_on_the_same_clips(tmp_path, test_labels, name, part):
    new, old = (
        make_run(tmp_path / run, noise=noise, test_labels=test_labels)
        for run, noise in {"new": 0.0, "old": 2.0}.items()
    )
    table = read_clips(new / "spectrograms")
    predictions = [read_predictions(run / "averaged" / "predictions.parquet") for run in (new, old)]
    # Of the champion's clips half are gone.
    rows = predictions[1].rows
    kept = rows["clip"].isin(rows["clip"].drop_duplicates().sort_values().iloc[::2]).to_numpy()
    predictions[1] = Predictions(predictions[1].classes, rows[kept], predictions[1].scores[kept])

    expected = []
    for predicted in predictions:
        rows = predicted.rows
        chosen = (rows["part"] == part) & (rows["member"] == ENSEMBLE) & rows["clip"].isin(predictions[1].rows["clip"])
        truth = hot(rows.loc[chosen, "clip"], table)(predicted.classes)
        expected.append(lwlrap(truth, predicted.scores[chosen.to_numpy()]))
    found = compare_predictions(*predictions, table)
    assert found["set"] == name and 0 < found["clips"] == truth.any(axis=1).sum() < 120
    assert [found["score"], found["champion"]] == pytest.approx(expected)
    assert found["difference"] == pytest.approx(expected[0] - expected[1])
    assert found["low"] < found["difference"] < found["high"]


def test_what_cannot_be_compared_is_not_promoted(tmp_path, runs):
    champion = promote_run(runs["bad"], tmp_path)
    other_clips = make_run(tmp_path / "clips", seed=3)
    other_classes = make_run(tmp_path / "classes", classes=9)
    for path in [other_clips / "averaged" / "predictions.parquet"]:
        table = read_predictions(path)
        rows = table.rows.assign(clip="other-" + table.rows["clip"])
        write_predictions(path, Predictions(table.classes, rows, table.scores))
    for run in (other_clips, other_classes):
        decision = promote_run(run, tmp_path)
        assert decision["promoted"] is False and decision["champion"] == champion["version"]
        assert decision["verdict"] == "not comparable" and "the two cannot be compared" in decision["reason"]
        assert f"`audiotagging champion accept {decision['version']}` promotes it" in decision["reason"]
        assert read_champion(tmp_path)["version"] == champion["version"]
    assert accept(tmp_path, decision["version"])["verdict"] == "not comparable"
    assert read_champion(tmp_path)["best"] == decision["version"]  # or nothing could ever be compared again


def test_a_promotion_that_was_cut_short_is_done_again(tmp_path, runs, monkeypatch):
    promote_run(runs["bad"], tmp_path)
    before = read_champion(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("audiotagging.champions.promotion.record", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            promote_run(runs["good"], tmp_path)
    assert read_champion(tmp_path) == before and champion_folder(tmp_path).is_dir()
    assert promote_run(runs["good"], tmp_path)["promoted"]


def test_the_pointer_is_switched_when_all_is_stored(tmp_path, runs, monkeypatch):
    promote_run(runs["bad"], tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("audiotagging.champions.versions.shutil.copytree", full_disk)
    with pytest.raises(OSError, match="No space"):
        promote_run(runs["good"], tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def promote_in_process(run, champions, barrier, decisions):
    barrier.wait()
    decisions.put(promote_run(run, champions))


def test_two_that_promote_at_once_are_compared_with_each_other(tmp_path, runs):
    context = multiprocessing.get_context("fork")
    barrier, decisions = context.Barrier(2), context.Queue()
    arguments = [(run, tmp_path, barrier, decisions) for run in runs.values()]
    processes = [context.Process(target=promote_in_process, args=each) for each in arguments]
    for process in processes:
        process.start()
    first, second = sorted((decisions.get(timeout=60) for _ in processes), key=lambda each: each["champion"])
    for process in processes:
        process.join()
    assert first["champion"] == "" and second["champion"] == first["version"] and "comparison" in second
    good = promote_run(runs["good"], tmp_path)
    assert good in (first, second)  # it is the champion, whichever came first


def test_a_champion_that_is_gone_is_said_to_be(tmp_path, runs):
    promote_run(runs["good"], tmp_path)
    champion_folder(tmp_path).rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"expected the champion that .*champion.json names, found no such folder"):
        promote_run(runs["bad"], tmp_path)


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_old_versions_are_removed_but_never_the_champion_the_one_before_or_the_best(
    tmp_path, monkeypatch, equal_runs, kept
):
    monkeypatch.setattr("audiotagging.champions.versions.KEPT", kept)
    seen = []
    for second, run in enumerate(equal_runs):
        seen.append(promote_run(run, tmp_path)["version"])
        os.utime(tmp_path / "versions" / seen[-1], (99 - second, 99 - second))  # the clock goes backwards
    assert read_champion(tmp_path)["best"] == seen[0]
    assert {path.name for path in (tmp_path / "versions").iterdir()} == {seen[0], *seen[-max(2, kept) :]}


def test_what_was_never_the_champion_does_not_push_out_what_was(tmp_path, runs, monkeypatch):
    """Promotions that were cut short leave versions that are newer than the champion."""
    monkeypatch.setattr("audiotagging.champions.versions.KEPT", 2)
    champion = promote_run(runs["bad"], tmp_path)["version"]
    os.utime(tmp_path / "versions" / champion, (0, 0))
    for name in ("a" * 16, "b" * 16):
        shutil.copytree(champion_folder(tmp_path), tmp_path / "versions" / name)
    good = promote_run(runs["good"], tmp_path)["version"]
    assert {champion, good} <= {path.name for path in (tmp_path / "versions").iterdir()}


def test_nothing_but_versions_is_ever_removed(tmp_path, runs, monkeypatch):
    monkeypatch.setattr("audiotagging.champions.versions.KEPT", 0)
    mine = ["versions/mine/ensemble.json", f"versions/{'0' * 16}/mine", "versions/file"]
    for path in (tmp_path / name for name in mine):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    promote_run(runs["bad"], tmp_path)
    promote_run(runs["good"], tmp_path)
    assert all((tmp_path / name).exists() for name in mine)


def test_a_version_is_written_once_by_its_owner_alone(tmp_path, runs):
    """Whatever the modes of the outputs of the stages are: on a cluster, everybody may write to them."""
    run = shutil.copytree(runs["good"], tmp_path / "run")
    for path in (run, *run.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    promote_run(run, tmp_path / "champions")
    folder = champion_folder(tmp_path / "champions")
    for path in (folder, *folder.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o444), path


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A run whose members were trained on everything, and on all but a fold."""
    return make_run(tmp_path_factory.mktemp("whole") / "run", folds=(-1, 0))


def test_a_warm_start_begins_with_the_champions_model_of_the_same_member(tmp_path, whole_run):
    options = {"champions": tmp_path, "spectrograms": whole_run / "spectrograms", "share": 0.25}
    assert starting_point(MEMBER, fold=-1, **options) == (MEMBER, None)  # no champion yet

    promote_run(whole_run, tmp_path)
    member, start = starting_point(MEMBER, fold=-1, **options)
    assert member == replace(MEMBER, epochs=MEMBER.epochs // 4)
    assert start == champion_folder(tmp_path) / "models" / f"{MEMBER.id}-fold-1"
    assert json.loads((start / "member.json").read_text())["fold"] == -1
    assert starting_point(replace(MEMBER, epochs=1), fold=-1, **options)[0].epochs == 1


@pytest.mark.parametrize(
    ("member", "fold", "classes"),
    [
        (MEMBER, 0, 8),  # folds change with the data, so the champion may have been trained on what this run holds out
        (REFERENCE[5], -1, 8),
        (replace(MEMBER, network="xresnet50"), -1, 8),
        (MEMBER, -1, 9),
    ],
)
def test_a_warm_start_that_does_not_fit_is_none(tmp_path, whole_run, member, fold, classes):
    promote_run(whole_run, tmp_path)
    spectrograms = fabricate_run(tmp_path / "run", classes=classes, members=(), clips=4) / "spectrograms"
    found = starting_point(member, fold=fold, champions=tmp_path, spectrograms=spectrograms, share=0.25)
    assert found == (member, None)


def test_tag_takes_a_champions_folder(tmp_path, runs, monkeypatch):
    taken = []
    monkeypatch.setattr(torch_networks, "TorchNetworks", lambda folder, **options: taken.append(folder) or 1 / 0)
    promote_run(runs["good"], tmp_path)
    for models in (tmp_path, runs["good"]):
        with pytest.raises(ZeroDivisionError):
            tag.run(tag_options(files=[], models=models))
    assert taken == [champion_folder(tmp_path), runs["good"]]
