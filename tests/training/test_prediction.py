"""Prediction of many clips at once against one window at a time."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.fabricated import fabricate_model
from PIL import Image
from torch import nn

from audiotagging.artifacts.predictions import read_predictions
from audiotagging.artifacts.selection import write_selection
from audiotagging.artifacts.spectrogram_shards import ShardWriter
from audiotagging.base.errors import UserError
from audiotagging.members import Member
from audiotagging.training.networks import NETWORKS
from audiotagging.training.prediction import Model, load_model, predict, score_clips, window_starts
from audiotagging.training.train import train

CLASSES = ["bark", "hiss", "meow"]


def member_of(**changes):
    row = {"id": "m", "network": "xresnet18ssa", "loss": "bce", "epochs": 1, "size": 32, "epoch_size": 1}
    return Member(**(row | {"batch_size": 2} | changes))


class Projection(nn.Module):
    """A network of one fixed matrix, fast and with no two outputs alike."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.matrix = nn.Parameter(torch.randn(3 * 32 * 32, 4 * len(CLASSES), generator=generator) / 50)

    def forward(self, pictures):
        return pictures.flatten(1) @ self.matrix


def spectrograms_of(lengths, seed=2):
    rng = np.random.default_rng(seed)
    offsets = np.cumsum([0, *lengths])
    return rng.integers(0, 256, (offsets[-1], 128), np.uint8), offsets


def plain_windows(length, member):
    """Return where windows start, as a loop; the tail is ours, the rest the original's."""
    step = round(member.frames * (1 - member.overlap))
    starts = list(range(0, max(1, length - member.frames), step))
    if member.tail and starts[-1] + member.frames < length:
        starts.append(length - member.frames)
    return starts


@pytest.mark.parametrize("overlap", [0, 0.5, 0.9])
@pytest.mark.parametrize("tail", [True, False])
def test_windows_equal_a_plain_loop(overlap, tail):
    member = member_of(overlap=overlap, tail=tail)
    lengths = [128, 129, 130, 255, 256, 257, 384, 385, 1000]
    owners, starts = window_starts(torch.tensor(lengths), frames=128, overlap=overlap, tail=tail)
    for clip, length in enumerate(lengths):
        assert starts[owners == clip].tolist() == plain_windows(length, member)


@pytest.mark.parametrize("overlap, tail", [(0, True), (0.5, True), (0, False)])
def test_scores_equal_one_window_at_a_time(overlap, tail):
    member = member_of(overlap=overlap, tail=tail)
    network = Projection()
    lengths = [300, 128, 257, 600]
    frames, offsets = spectrograms_of(lengths)
    expected = np.zeros((len(lengths), 3))
    for clip, length in enumerate(lengths):
        picture = frames[offsets[clip] : offsets[clip + 1]].T
        # View v flips the whole clip and reads its own three outputs.
        flipped = [picture, np.fliplr(picture), np.flipud(picture), np.flipud(np.fliplr(picture))]
        for view in range(4):
            scores = []
            for start in plain_windows(length, member):
                window = np.ascontiguousarray(flipped[view][:, start : start + 128])
                image = np.asarray(Image.fromarray(window).resize((32, 32), Image.Resampling.NEAREST))
                normalised = torch.tensor((image / 255 - 0.2932) / 0.2556).float().expand(1, 3, 32, 32)
                scores.append(torch.sigmoid(network(normalised))[0, 3 * view : 3 * view + 3].detach().numpy())
            expected[clip] += np.max(scores, axis=0) / 4
    actual = score_clips(Model(network, member, CLASSES, fold=-1), frames, offsets, precision="float32")
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


def test_no_clips_have_no_scores():
    frames, offsets = spectrograms_of([])
    model = Model(Projection(), member_of(), CLASSES, fold=-1)
    assert score_clips(model, frames, offsets, precision="float32").shape == (0, 3)


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_leaves_no_ties(name):
    torch.manual_seed(3)
    network = NETWORKS[name](4 * 80).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.randn(2, 3, 32, 32))
    assert logits.dtype == torch.float32
    assert all(len(row.unique()) == 320 for row in logits)


@pytest.fixture
def shards(tmp_path):
    frames, offsets = spectrograms_of([130, 200, 128, 150, 128, 300, 140])
    rows = [("a", "curated", 0), ("b", "curated", 1), ("c", "curated", 0), ("d", "noisy", -1), ("e", "test", -1)]
    rows += [("f", "test", -1), ("hum-1", "disturbance", -1)]
    with ShardWriter(tmp_path / "spectrograms", classes=CLASSES) as writer:
        for number, (clip, part, fold) in enumerate(rows):
            spectrogram = frames[offsets[number] : offsets[number + 1]]
            labels = [] if part in ("test", "disturbance") else [CLASSES[number % 3]]
            writer.add(clip=clip, part=part, labels=labels, fold=fold, usage="", seconds=2.0, spectrogram=spectrogram)
    return tmp_path / "spectrograms"


@pytest.mark.parametrize("fold, validation", [(0, ["a", "b"]), (-1, [])])
def test_held_out_fold_test_part_and_disturbances_are_predicted(tmp_path, shards, fold, validation):
    folds = {"a": 0, "b": 0, "c": 1}  # others than the shards have: those of the selection count
    write_selection(tmp_path, folds=folds, noisy_clips=pd.DataFrame({"fname": []}))
    train(member_of(), fold=fold, seed=1, spectrograms=shards, folds=folds, out=tmp_path / "model")
    predict(tmp_path / "model", spectrograms=shards, selection=tmp_path, out=tmp_path / "predictions.parquet")
    predictions = read_predictions(tmp_path / "predictions.parquet")
    assert predictions.classes == CLASSES and predictions.unheard == (["bark", "hiss"] if fold == 0 else [])
    assert predictions.rows["clip"].tolist() == [*validation, "e", "f", "hum-1"]
    parts = ["validation"] * len(validation) + ["test", "test", "disturbance"]
    assert predictions.rows["part"].tolist() == parts
    assert set(predictions.rows["member"]) == {"m"} and set(predictions.rows["fold"]) == {fold}
    assert ((predictions.scores > 0) & (predictions.scores < 1)).all()


def test_a_loaded_model_is_the_one_that_was_trained(tmp_path, shards):
    train(member_of(), fold=1, seed=1, spectrograms=shards, out=tmp_path / "model")
    model = load_model(tmp_path / "model")
    assert (model.member, model.classes, model.fold) == (member_of(), CLASSES, 1)
    assert not model.network.training
    info = json.loads((tmp_path / "model" / "member.json").read_text())
    assert info["member"]["id"] == "m"


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="found no member"):
        load_model(tmp_path)


def test_damaged_weights_are_named(tmp_path):
    model = fabricate_model(tmp_path / "model", member_of(), fold=-1, classes=["a", "b"])
    with pytest.raises(UserError, match=r"weights\.safetensors: expected complete weights"):
        load_model(model)
