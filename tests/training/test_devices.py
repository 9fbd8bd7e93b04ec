"""A GPU's rules, without a GPU: on the meta device tensors do not mix with the CPU's, and none can be looked at."""

import contextlib

import numpy as np
import pandas as pd
import pytest
import torch

from audiotagging.artifacts.spectrogram_shards import Spectrograms
from audiotagging.members import DEMO
from audiotagging.training import batches
from audiotagging.training.batches import Store
from audiotagging.training.loop import TrainingRun
from audiotagging.training.networks import NETWORKS
from audiotagging.training.prediction import score

META = torch.device("meta")
LENGTHS = [128, 200, 300, 500]
CLASSES = ["hum", "whine", "hiss"]
MEMBERS = {member.network: member for member in DEMO}


@pytest.fixture
def data():
    offsets = np.cumsum([0, *LENGTHS])
    clips = pd.DataFrame({"clip": ["a", "b", "c", "d"], "labels": [CLASSES[:2], CLASSES[1:], CLASSES[:1], CLASSES]})
    clips = clips.assign(part="curated", fold=[0, 1, 0, 1], usage="", frames=LENGTHS)
    return Spectrograms(clips, np.zeros((offsets[-1], 128), np.uint8), offsets, CLASSES)


@pytest.fixture(params=["on the device", "in host memory"])
def run(request, data, monkeypatch):
    """Return a function that prepares a member's run on the meta device, where what only CUDA has is left out."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)

    def prepare(member):
        run = TrainingRun(member, data, fold=0, device=META, precision="auto")
        run.optimiser.step = lambda: None
        if request.param == "in host memory":
            run.data.store = Store(data.frames, data.offsets, device=torch.device("cpu"))
            run.data.store.device = META
            run.data.training = torch.tensor([1, 3])
        return run

    return prepare


@pytest.mark.parametrize("network", NETWORKS)
def test_a_training_step_stays_on_the_device_and_waits_for_nothing(run, network):
    prepared = run(MEMBERS[network])
    prepared.train_step()
    assert prepared.step == 1 and prepared.losses.is_meta
    assert all(weight.grad is None and weight.is_meta for weight in prepared.network.parameters())


@pytest.mark.parametrize("network", NETWORKS)
def test_prediction_stays_on_the_device_and_waits_for_nothing(run, network, monkeypatch):
    prepared = run(MEMBERS[network])
    lengths = prepared.data.store.lengths
    looks = []

    def look(tensor):
        """At the clips' lengths before, and at the scores after; on a GPU nothing else is copied back."""
        looks.append(tensor)
        return torch.tensor(LENGTHS) if tensor is lengths else torch.zeros(tensor.shape)

    monkeypatch.setattr(torch.Tensor, "cpu", look)
    scores = score(
        prepared.network.eval(),
        prepared.data.store,
        torch.tensor([1, 3]),
        member=prepared.member,
        classes=3,
        precision="auto",
    )
    assert scores.shape == (2, 3) and len(looks) == 2


@pytest.mark.parametrize("where", ["the views", "the labels"])
def test_a_tensor_on_the_cpu_would_be_noticed(run, where, monkeypatch):
    prepared = run(DEMO[0])
    if where == "the views":
        original = batches.augment
        monkeypatch.setattr(batches, "augment", lambda crops, views, size: original(crops, torch.zeros(16), size=size))
    else:
        prepared.data.labels = torch.zeros(2, 3)
    with pytest.raises((RuntimeError, NotImplementedError)):
        prepared.train_step()
