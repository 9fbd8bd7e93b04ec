"""Distillation: what is learned of which clip, and that training learns it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.tiny_training import CLASSES, TINY, write_shards
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression

from audiotagging.artifacts.calibration import logits
from audiotagging.artifacts.model_folder import read_metadata
from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.members import DEMO, REFERENCE
from audiotagging.statistics.metrics import label_table
from audiotagging.studies.distillation import LABELS, PATIENCE, mix_targets, student_of
from audiotagging.training.batches import Targets
from audiotagging.training.train import train

pytestmark = pytest.mark.usefixtures("narrow_networks")

SHORT = replace(TINY, loss="bce", epochs=1, cycles=1)


def test_labels_count_for_curated_clips_alone():
    clips = pd.DataFrame(
        {"clip": ["a", "b", "c"], "part": ["noisy", "curated", "curated"], "labels": [["x"], ["x", "z"], ["y"]]}
    )
    labels = np.array([[0, 0, 0], [1, 0, 1], [0, 1, 0]])
    scores = np.array([[0.2, 0.1, 0.1], [0.3, 0.1, 0.2], [0.1, 0.15, 0.2]], np.float32)
    inputs, wanted = logits(scores[1:]).ravel(), labels[1:].ravel() > 0
    right, wrong = wanted.sum(), (~wanted).sum()
    # To Platt's targets, each label as a pair of weights.
    platt = LogisticRegression(C=1e9, tol=1e-9, max_iter=1000).fit(
        np.tile(inputs, 2)[:, None],
        np.repeat([1, 0], len(inputs)),
        np.concatenate([target := np.where(wanted, (right + 1) / (right + 2), 1 / (wrong + 2)), 1 - target]),
    )
    scaled = platt.predict_proba(logits(scores).reshape(-1, 1))[:, 1].reshape(scores.shape)
    targets = mix_targets(clips, dict(zip("abc", scores, strict=True)), classes=["x", "y", "z"])
    assert targets.clips == ["a", "b", "c"] and targets.scores.dtype == np.float32
    assert targets.scores[0] == pytest.approx(scaled[0], abs=1e-4)
    assert targets.scores[1:] == pytest.approx((1 - LABELS) * scaled[1:] + LABELS * labels[1:], abs=1e-4)


def test_scores_are_found_by_the_names_of_clips():
    targets = Targets(["a", "b", "c"], np.arange(6, dtype=np.float32).reshape(3, 2))
    assert targets.of(["c", "a"]).tolist() == [[4, 5], [0, 1]]
    assert targets.digest != Targets(["a", "c", "b"], targets.scores).digest
    assert targets.digest != Targets(targets.clips, targets.scores + 1).digest


@pytest.mark.parametrize("member", [*REFERENCE, *DEMO], ids=lambda member: member.id)
def test_a_student_has_the_size_of_a_member_and_a_loss_for_scores(member):
    student = student_of(member)
    assert (student.network, student.size, student.epochs) == (member.network, member.size, PATIENCE * member.epochs)
    assert (student.loss, student.freeze_epochs) == ("bce", 0)


@pytest.fixture
def shards(tmp_path):
    write_shards(tmp_path / "shards")
    return tmp_path / "shards"


def weights(folder):
    return load_file(folder / "weights.safetensors")


def test_labels_as_scores_train_the_same_network_as_labels(shards, tmp_path):
    clips = read_clips(shards)
    clips = clips[clips["part"] != "test"].iloc[::-1]  # in another order
    labels = label_table(clips["labels"].tolist(), CLASSES).astype(np.float32)
    options = {"fold": -1, "spectrograms": shards, "seed": 1}
    train(SHORT, out=tmp_path / "labels", **options)
    for name, scores in {"same": labels, "other": 1 - labels}.items():
        train(SHORT, out=tmp_path / name, targets=Targets(list(clips["clip"]), scores), **options)
    expected, same, other = (weights(tmp_path / name) for name in ("labels", "same", "other"))
    assert all(torch.equal(expected[name], same[name]) for name in expected)
    assert not all(torch.equal(expected[name], other[name]) for name in expected)
    assert read_metadata(tmp_path / "labels").targets is None
    assert read_metadata(tmp_path / "same").targets == Targets(list(clips["clip"]), labels).digest
