"""What the best champion predicts of clips that are newer than it, and that a candidate meets it on them."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.fabricated import PLAIN, fabricate_run, models_of, predictions_of, replace_weights
from helpers.tiny_ensemble import MEMBERS, tiny
from safetensors.torch import save

from audiotagging.artifacts.champions_folder import champion_folder
from audiotagging.artifacts.predictions import Predictions, read_predictions, write_predictions
from audiotagging.artifacts.spectrogram_shards import ShardWriter, read_classes, read_clips, read_spectrograms
from audiotagging.artifacts.stored_version import read_version_predictions
from audiotagging.champions.promotion import promote
from audiotagging.champions.rescoring import newer_clips, rescore
from audiotagging.ensemble.ensembling import ensemble
from audiotagging.training.networks import NETWORKS
from audiotagging.training.prediction import load_model, score_clips

CLASSES = 4


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of two members and two folds, whose networks have weights."""
    monkeypatch.setitem(NETWORKS, MEMBERS[0].network, tiny)
    monkeypatch.setitem(NETWORKS, MEMBERS[1].network, tiny)
    run = fabricate_run(tmp_path / "run", members=MEMBERS, classes=CLASSES, clips=12)
    for number, path in enumerate(models_of(run)):
        torch.manual_seed(number)
        replace_weights(path, save(tiny(4 * CLASSES).state_dict()))
    average(run)
    return run


def average(run):
    shutil.rmtree(run / "averaged", ignore_errors=True)
    ensemble(predictions_of(run), spectrograms=run / "spectrograms", out=run / "averaged", **PLAIN)


def promote_run(run, champions, **options):
    inputs = {"models": models_of(run), "spectrograms": run / "spectrograms", "selection": run / "selection"}
    return promote(run / "averaged", champions=champions, **inputs, **options)


def grown(run, folder):
    """Copy a run, with other weights and as if its data had more clips: new test and curated ones, and moved ones.

    Returns the run, and by part the new clips of it.
    """
    later = shutil.copytree(run, folder)
    data, clips = read_spectrograms(run / "spectrograms"), read_clips(run / "spectrograms")
    pieces = dict(zip(clips["clip"], np.split(data.frames, data.offsets[1:-1]), strict=True))
    moved = clips["clip"][clips["part"] == "noisy"].iloc[0]  # it was trained on, and is a test clip now
    clips.loc[clips["clip"] == moved, ["part", "usage"]] = ["test", "Private"]
    unlabelled = clips[clips["part"] == "test"].head(1).assign(clip="unlabelled.wav", labels=[[]])
    test = clips[clips["part"] == "test"].head(3).assign(clip=[f"new-test-{number}.wav" for number in range(3)])
    curated = clips[clips["part"] == "curated"].head(4).assign(clip=[f"new-{number}.wav" for number in range(4)])
    table = pd.concat([clips, unlabelled, test, curated])
    table["part"] = pd.Categorical(table["part"], ["curated", "noisy", "test", "disturbance"])
    shutil.rmtree(later / "spectrograms")
    sources = list(clips["clip"][clips["part"] == "curated"].head(7))
    with ShardWriter(later / "spectrograms", classes=read_classes(run / "spectrograms")) as writer:
        for row in table.sort_values("part", kind="stable").itertuples():
            spectrogram = pieces[row.clip] if row.clip in pieces else pieces[sources[len(row.clip) % 7]]
            writer.add(
                clip=row.clip, part=row.part, labels=row.labels, fold=row.fold, usage=row.usage, seconds=row.seconds,
                spectrogram=spectrogram,
            )  # fmt: skip
    for path in predictions_of(later):
        old = read_predictions(path)
        fold = int(old.rows["fold"].iloc[0])
        held_out = curated["clip"][curated["fold"] == fold]
        added = [*((clip, "test") for clip in [moved, "unlabelled.wav", *test["clip"]])]
        added += [(clip, "validation") for clip in held_out]
        rows = pd.DataFrame(added, columns=["clip", "part"]).assign(member=old.members[0], fold=fold)
        scores = np.random.default_rng(fold).random((len(rows), CLASSES), np.float32)
        joined = pd.concat([old.rows, rows], ignore_index=True)
        write_predictions(path, Predictions(old.classes, joined, np.concatenate([old.scores, scores])))
    average(later)
    for number, path in enumerate(models_of(later)):
        replace_weights(path, f"{number}".encode())
    return later, {"test": set(test["clip"]), "validation": set(curated["clip"])}


def test_the_newer_clips_have_labels_and_were_neither_predicted_nor_trained_on(run, tmp_path):
    promote_run(run, tmp_path / "champions")
    later, new = grown(run, tmp_path / "later")
    folder = champion_folder(tmp_path / "champions")
    for candidate, expected in ((run, {"test": set(), "validation": set()}), (later, new)):
        found = newer_clips(folder, ensemble=candidate / "averaged", spectrograms=candidate / "spectrograms")
        assert {part: set(found["clip"][found["part"] == part]) for part in new} == expected


def test_the_champion_predicts_them_as_the_candidate_did(run, tmp_path):
    """Test clips are scored by the mean of all folds, and each curated clip by one model of every member."""
    champions = tmp_path / "champions"
    version = promote_run(run, champions)["version"]
    later, new = grown(run, tmp_path / "later")
    out = tmp_path / "rescored.parquet"
    options = {"spectrograms": later / "spectrograms", "champions": champions, "precision": "float32"}
    assert rescore(later / "averaged", out=out, **options) == version
    found = read_predictions(out)
    assert len(found.rows) == 2 * 7 and set(found.rows["fold"]) == {-1}
    for member in MEMBERS:
        models = [load_model(run / "models" / f"{member.id}-fold{fold}") for fold in (0, 1)]
        for part, kind in (("test", "test"), ("validation", "curated")):
            data = read_spectrograms(later / "spectrograms", parts=[kind], clips=list(new[part]))
            scores = np.stack([score_clips(model, data.frames, data.offsets, precision="float32") for model in models])
            chosen = ((found.rows["member"] == member.id) & (found.rows["part"] == part)).to_numpy()
            assert list(found.rows["clip"][chosen]) == list(data.clips["clip"])
            by_clip = zip(scores.swapaxes(0, 1), found.scores[chosen], strict=True)
            if part == "test":
                np.testing.assert_allclose(found.scores[chosen], scores.mean(axis=0), rtol=1e-5)
            else:
                assert all(any(np.allclose(one, score, rtol=1e-5) for one in each) for each, score in by_clip)

    # The candidate meets the champion on these clips too, and the champion need not predict them again.
    decision = promote_run(later, champions, rescored=(version, out))
    labelled = read_clips(run / "spectrograms").query("part == 'test'")
    assert decision["comparison"]["clips"] == len(labelled) + 3
    rows = read_version_predictions(champions / "versions" / version).rows
    assert new["test"] | new["validation"] <= set(rows["clip"][rows["member"] == "ensemble"])
    folder = champions / "versions" / version
    assert not len(newer_clips(folder, ensemble=later / "averaged", spectrograms=later / "spectrograms"))


def test_predictions_of_another_version_than_the_best_one_are_not_taken(run, tmp_path):
    champions = tmp_path / "champions"
    version = promote_run(run, champions)["version"]
    later, _ = grown(run, tmp_path / "later")
    rescore(later / "averaged", spectrograms=later / "spectrograms", champions=champions, out=tmp_path / "out.parquet")
    decision = promote_run(later, champions, rescored=("0" * 16, tmp_path / "out.parquet"))
    assert decision["comparison"]["clips"] == (read_clips(run / "spectrograms")["part"] == "test").sum()
    assert not (champions / "versions" / version / "rescored.parquet").exists()


@pytest.mark.parametrize("case", ["no folder", "no champion", "no list of clips", "other classes", "nothing new"])
def test_where_nothing_can_be_predicted_the_table_is_empty(run, tmp_path, case):
    champions, candidate = tmp_path / "champions", run
    if case not in ("no folder", "no champion"):
        promote_run(run, champions)
        (champion_folder(champions) / "clips.parquet").chmod(0o644)
    if case == "no list of clips":
        (champion_folder(champions) / "clips.parquet").unlink()
        candidate, _ = grown(run, tmp_path / "later")
    if case == "other classes":
        members = [replace(MEMBERS[0], id="other")]
        candidate = fabricate_run(tmp_path / "other", members=members, classes=CLASSES + 1, clips=4)
        average(candidate)
    version = rescore(
        candidate / "averaged",
        spectrograms=candidate / "spectrograms",
        champions=None if case == "no folder" else champions,
        out=tmp_path / "out.parquet",
    )
    assert len(read_predictions(tmp_path / "out.parquet").rows) == 0
    assert (version == "") == (case in ("no folder", "no champion"))
    if case not in ("no folder", "no champion"):
        promote_run(candidate, champions, rescored=(version, tmp_path / "out.parquet"))
