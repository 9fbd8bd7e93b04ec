"""Training: the same every time, also after being stopped anywhere, and as good as a plain loop."""

import itertools
import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.tiny_training import CLASSES, SHORT, TINY, assert_same_weights, start, write_shards
from safetensors.torch import load_file

from audiotagging.artifacts.spectrogram_shards import ShardWriter, read_spectrograms
from audiotagging.base.errors import UserError
from audiotagging.members import REFERENCE
from audiotagging.statistics.metrics import label_table, lwlrap
from audiotagging.training import batches, loop
from audiotagging.training.batches import split, view_targets
from audiotagging.training.checkpoints import Checkpoints
from audiotagging.training.identity import run_seed
from audiotagging.training.networks import NETWORKS
from audiotagging.training.prediction import load_model, score_clips
from audiotagging.training.train import train

pytestmark = pytest.mark.usefixtures("narrow_networks")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("data") / "spectrograms")


@pytest.fixture(scope="module")
def data(shards):
    return read_spectrograms(shards, parts=["curated", "noisy"])


# What is trained on


def test_only_curated_clips_of_the_fold_are_held_out():
    clips = pd.DataFrame({"part": ["curated"] * 4 + ["noisy"] * 3, "fold": [0, 1, 2, 1, -1, -1, 1]})
    train_on, validate_on = split(clips, fold=1)
    assert train_on.tolist() == [0, 2, 4, 5, 6] and validate_on.tolist() == [1, 3]
    train_on, validate_on = split(clips, fold=-1)
    assert train_on.tolist() == list(range(7)) and validate_on.tolist() == []


def test_a_fold_without_clips_is_refused():
    clips = pd.DataFrame({"part": ["curated", "noisy"], "fold": [0, -1]})
    with pytest.raises(UserError, match=r"expected curated clips in fold 3, found none; .* folds \[0\]"):
        split(clips, fold=3)
    with pytest.raises(UserError, match="expected clips to train on"):
        split(clips[:1], fold=0)


def test_every_view_has_outputs_of_its_own():
    targets = view_targets(torch.tensor([[1.0, 0, 1], [0, 1, 0]]), torch.tensor([2, 0]))
    assert targets.tolist() == [[0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]


def test_a_batch_holds_clips_of_the_training_set_with_their_labels(data):
    run = start(replace(TINY, batch_size=64), data, fold=1)
    pictures, targets, partners, share = run.batch()
    assert pictures.shape == (64, 3, 32, 32) and share.shape == (64,)
    rows = {tuple(row) for row in run.data.labels.int().tolist()}
    for row in torch.cat([targets, partners]).view(-1, 4, len(CLASSES)).int():
        assert sorted(row.any(dim=1).tolist()) == [False, False, False, True]
        assert tuple(row.sum(dim=0).tolist()) in rows


def test_a_picture_is_the_mixture_that_its_labels_and_share_say(tmp_path, monkeypatch):
    """Clips of one label are black and those of the other white, so a mixture's grey is the share of the other."""
    with ShardWriter(tmp_path / "shards", classes=["black", "white"]) as writer:
        for number in range(8):
            label = number % 2
            spectrogram = np.full((128, 128), 255 * label, np.uint8)
            options = {"part": "curated", "labels": [["black", "white"][label]], "fold": 0, "usage": "", "seconds": 2.0}
            writer.add(clip=f"{number}.wav", spectrogram=spectrogram, **options)
    monkeypatch.setattr(batches, "augment", lambda crops, views, *, size: crops[:, None, :size, :size].float() / 255)
    run = start(replace(TINY, batch_size=64), read_spectrograms(tmp_path / "shards"))
    pictures, targets, partners, share = run.batch()
    white, other_white = (labels.view(64, 4, 2)[..., 1].sum(dim=1) for labels in (targets, partners))
    expected = share * white + (1 - share) * other_white
    torch.testing.assert_close(pictures.flatten(1), expected[:, None].expand(-1, 32 * 32), rtol=0, atol=1e-6)
    assert 10 < (white != other_white).sum() < 54 and (share < 0.5).all()


def test_crops_are_left_out_by_the_members_f2cl(data):
    losses = []
    for f2cl in (1e-6, 2.0):
        run = start(replace(SHORT, f2cl=f2cl), data)
        run.train_step()
        losses.append(run.losses[0].item())
    assert losses[0] != losses[1]


def test_same_seed_same_weights_and_other_runs_differ(tmp_path, shards):
    runs = {
        "first": {"member": SHORT, "fold": 0, "seed": 1},
        "again": {"member": SHORT, "fold": 0, "seed": 1},
        "seed": {"member": SHORT, "fold": 0, "seed": 2},
        "fold": {"member": SHORT, "fold": 1, "seed": 1},
        "member": {"member": replace(SHORT, id="other"), "fold": 0, "seed": 1},
    }
    heads = {}
    for name, options in runs.items():
        train(**options, spectrograms=shards, out=tmp_path / name)
        weights = load_file(tmp_path / name / "weights.safetensors")
        heads[name] = weights["body.0.0.weight"]
        if name == "again":
            assert_same_weights(weights, load_file(tmp_path / "first" / "weights.safetensors"))
    distinct = [name for name in heads if name != "again"]
    assert not any(torch.equal(heads[a], heads[b]) for a, b in itertools.combinations(distinct, 2))


def test_seeds_of_members_and_folds_differ():
    seeds = {run_seed(member, fold=fold, seed=seed) for member in REFERENCE for fold in range(-1, 5) for seed in (1, 2)}
    assert len(seeds) == len(REFERENCE) * 6 * 2


def test_second_cycle_continues_with_weights_and_optimiser(data):
    run = start(TINY, data)
    rates = []
    for _ in range(run.steps):
        run.train_step()
        rates.append(run.optimiser.param_groups[0]["lr"])
    assert run.steps == 12 and rates[:6] == rates[6:]
    assert {int(state["step"]) for state in run.optimiser.state.values()} == {12}


def test_history_and_member_are_written(tmp_path, shards):
    member = replace(TINY, validate_every=3)
    train(member, fold=2, seed=5, spectrograms=shards, out=tmp_path / "model")
    history = pd.read_parquet(tmp_path / "model" / "history.parquet")
    assert history.columns.tolist() == ["epoch", "cycle", "loss", "lr", "lwlrap", "seconds"]
    assert history["epoch"].tolist() == [1, 2, 3, 4] and history["cycle"].tolist() == [1, 1, 2, 2]
    assert history["lwlrap"].notna().tolist() == [False, False, True, True]
    info = json.loads((tmp_path / "model" / "member.json").read_text())
    assert info["member"] == asdict(member) and info["classes"] == CLASSES
    assert (info["fold"], info["seed"], info["fingerprint"]) == (2, 5, "abc")
    assert info["seconds"] == pytest.approx(history["seconds"].sum())
    assert info["crops_per_second"] == pytest.approx(12 * 4 / info["seconds"])

    # The last lwlrap is that of the model that was written, on the fold that was held out.
    held_out = read_spectrograms(shards, parts=["curated"], clips=[f"{number}.wav" for number in range(2, 20, 5)])
    scores = score_clips(load_model(tmp_path / "model"), held_out.frames, held_out.offsets)
    assert history["lwlrap"].iloc[-1] == pytest.approx(
        lwlrap(label_table(held_out.clips["labels"].tolist(), CLASSES), scores)
    )


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path, shards):
    (tmp_path / "note").touch()
    with pytest.raises(UserError, match="expected a folder that does not exist yet or is empty"):
        train(TINY, fold=-1, seed=1, spectrograms=shards, out=tmp_path)


@pytest.mark.slow
def test_twenty_clips_are_learnt_by_heart(tmp_path):
    shards = write_shards(tmp_path / "spectrograms", noisy=0, test=0)
    member = replace(TINY, epochs=1, cycles=1, epoch_size=250, batch_size=16, lr=0.01)
    train(member, fold=-1, seed=1, spectrograms=shards, out=tmp_path / "model")
    learnt = read_spectrograms(shards)
    scores = score_clips(load_model(tmp_path / "model"), learnt.frames, learnt.offsets)
    assert lwlrap(label_table(learnt.clips["labels"].tolist(), CLASSES), scores) > 0.99


# Starting from another model


def test_training_begins_with_the_weights_of_the_model(tmp_path, shards, monkeypatch):
    train(SHORT, fold=-1, seed=1, spectrograms=shards, out=tmp_path / "model")
    monkeypatch.setattr(loop, "one_cycle", lambda step, *, steps, lr: (0.0, 0.9))  # learns nothing
    train(replace(SHORT, id="b"), fold=0, seed=1, spectrograms=shards, out=tmp_path / "next", start=tmp_path / "model")
    first, second = (load_file(tmp_path / name / "weights.safetensors") for name in ("model", "next"))
    name = "body.0.0.weight"
    assert torch.equal(first[name], second[name])


def test_the_model_records_what_it_began_with(tmp_path, shards):
    train(SHORT, fold=-1, seed=1, spectrograms=shards, out=tmp_path / "model")
    train(replace(SHORT, id="b"), fold=0, seed=1, spectrograms=shards, out=tmp_path / "next", start=tmp_path / "model")
    begun, start = (json.loads((tmp_path / name / "member.json").read_text()) for name in ("model", "next"))
    assert begun["start"] is None
    tensors = sum(not name.endswith("num_batches_tracked") for name in NETWORKS[SHORT.network](4).state_dict())
    expected = {"source": str(tmp_path / "model"), "sha256": begun["sha256"], "taken": tensors, "tensors": tensors}
    assert start["start"] == expected | {"new": []}


@pytest.mark.parametrize("network", ["xresnet18ssa", "xresnet34"])
def test_a_frozen_body_keeps_its_weights_bit_for_bit_and_then_learns(data, network):
    """As in fastai, only batch norm learns in a frozen body."""
    run = start(replace(TINY, network=network, freeze_epochs=2), data)
    assert run.member.epoch_size == 3
    norms = [module for module in run.network.body.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    norm_parameters = {id(parameter) for module in norms for parameter in module.parameters()}
    body = [parameter for parameter in run.network.body.parameters() if id(parameter) not in norm_parameters]
    before = [parameter.clone() for parameter in body]
    head, weight = [parameter.clone() for parameter in run.network.head.parameters()], norms[0].weight.clone()
    for _ in range(6):
        run.train_step()
        assert all(torch.equal(*pair) for pair in zip(body, before, strict=True))
    assert not any(torch.equal(*pair) for pair in zip(run.network.head.parameters(), head, strict=True))
    assert not torch.equal(norms[0].weight, weight)
    run.train_step()
    assert not any(torch.equal(*pair) for pair in zip(body, before, strict=True))


def test_new_weights_are_not_frozen(tmp_path, shards):
    for freeze_epochs in (0, 1):
        member = replace(SHORT, freeze_epochs=freeze_epochs)
        train(member, fold=-1, seed=1, spectrograms=shards, out=tmp_path / str(freeze_epochs))
    first, second = (load_file(tmp_path / name / "weights.safetensors") for name in ("0", "1"))
    assert_same_weights(first, second)
    assert json.loads((tmp_path / "1" / "member.json").read_text())["member"]["freeze_epochs"] == 0


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, shards, monkeypatch):
    def exploding(step, *, steps, lr):
        return (1e30 if step == 3 else 1e-3), 0.9

    monkeypatch.setattr(loop, "one_cycle", exploding)
    options = {
        "fold": -1,
        "seed": 1,
        "spectrograms": shards,
        "out": tmp_path / "model",
        "checkpoints": str(tmp_path / "kept"),
    }
    with pytest.raises(UserError, match=r"tiny: training diverged: .* in epoch 2, batch 2;"):
        train(TINY, **options)
    assert not (tmp_path / "model").exists()
    (checkpoint,) = (tmp_path / "kept").rglob("*.checkpoint")
    assert checkpoint.name == "000000003.checkpoint"
    state = Checkpoints(str(checkpoint.parent), identity={}).latest()
    assert all(tensor.isfinite().all() for tensor in state["network"].values())
