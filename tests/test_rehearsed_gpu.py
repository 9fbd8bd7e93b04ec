"""Every stage that uses a GPU runs on a rehearsed one, where tensors of two devices raise as soon as they meet."""

import io
import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.draws import SHORT as SHORT_DRAW
from helpers.draws import plan
from helpers.fabricated import fabricate_run, models_of, replace_weights
from helpers.noisy_spectrograms import write_spectrograms
from helpers.rehearsed_gpu import CUDA, is_on_gpu, rehearsed_gpu
from helpers.slow import slow_but
from helpers.tiny_ensemble import MEMBERS, tiny
from helpers.tiny_training import CLASSES, SHORT, write_shards
from safetensors.torch import save

from audiotagging.artifacts.model_folder import read_history, read_metadata
from audiotagging.artifacts.predictions import read_predictions
from audiotagging.artifacts.spectrogram_shards import read_clips, read_spectrograms
from audiotagging.champions import rescoring
from audiotagging.members import LINEAR_MEMBER
from audiotagging.studies.subsets import train_and_score
from audiotagging.tagging.torch_networks import TorchNetworks
from audiotagging.training.batches import Targets
from audiotagging.training.loop import TrainingRun
from audiotagging.training.networks import NETWORKS
from audiotagging.training.prediction import load_model, predict, score_clips
from audiotagging.training.train import train

pytestmark = pytest.mark.usefixtures("narrow_networks")
MEMBER = replace(SHORT, epoch_size=2, batch_size=2)
MEMORY = {"on the GPU": 2**34, "pinned on the host": 0}  # where the spectrograms are, by the memory of the GPU


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("data") / "spectrograms")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose models have weights, with spectrograms of four clips of every part."""
    run = fabricate_run(tmp_path_factory.mktemp("run"), members=MEMBERS, classes=4, clips=4)
    for path in models_of(run):
        replace_weights(path, save(tiny(4 * 4).state_dict()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, MEMBERS[0].network, tiny)
        yield run


def training_on(shards, *, device=CUDA):
    return TrainingRun(MEMBER, read_spectrograms(shards, parts=["curated"]), fold=0, device=device, precision="auto")


def test_tensors_of_two_devices_raise_where_they_meet():
    with rehearsed_gpu():
        on_gpu, on_cpu = torch.ones(2, device="cuda"), torch.ones(2)
        assert is_on_gpu(on_gpu + on_gpu * on_cpu[0].item()) and not is_on_gpu(on_cpu)
        assert torch.equal(on_gpu.cpu() + on_cpu, torch.tensor([2.0, 2.0]))
        for meet in (torch.add, torch.dot, torch.minimum, torch.Tensor.lerp_):
            with pytest.raises(RuntimeError, match="device"):
                meet(on_gpu, on_cpu, *[0.5] * (meet is torch.Tensor.lerp_))


@pytest.mark.parametrize(
    "network, home",
    slow_but(
        itertools.product(NETWORKS, MEMORY),
        ("xresnet18ssa", "on the GPU"), ("xresnet50", "on the GPU"), ("xresnet34", "pinned on the host"),
    ),
)  # fmt: skip
def test_training(shards, tmp_path, network, home):
    member = replace(MEMBER, network=network)
    with rehearsed_gpu(memory=MEMORY[home]):
        train(member, fold=0, spectrograms=shards, out=tmp_path / "model", seed=1, checkpoints=str(tmp_path / "kept"))
    assert read_metadata(tmp_path / "model").device == "rehearsed GPU"
    assert read_history(tmp_path / "model")["lwlrap"].notna().all()


@pytest.mark.parametrize("memory", MEMORY.values(), ids=MEMORY)
def test_where_the_spectrograms_are(shards, memory):
    with rehearsed_gpu(memory=memory):
        store = training_on(shards).data.store
        assert is_on_gpu(store.frames) == is_on_gpu(store.lengths) == bool(memory)
        crops, places = store.random_crops(torch.arange(4, device=store.lengths.device), 2, frames=128)
        same = store.crops(torch.tensor([0, 1]), torch.tensor([0, 5]), frames=128)
        assert crops.device == places.device == same.device == CUDA


@pytest.mark.parametrize("before", [torch.device("cpu"), CUDA], ids=str)
def test_a_checkpoint_is_resumed(shards, before):
    """One of a CPU too: a training may go on where there is a GPU."""
    with rehearsed_gpu():
        interrupted, resumed = training_on(shards, device=before), training_on(shards)
        if before == CUDA:
            interrupted.train_step()
    if before.type == "cpu":
        interrupted.train_step()
    with rehearsed_gpu():
        file = io.BytesIO()
        torch.save(interrupted.state(), file)
        resumed.load_state(torch.load(io.BytesIO(file.getvalue()), map_location="cpu", weights_only=True))
        states = resumed.optimiser.state.values()
        assert len(states) and all(is_on_gpu(tensor) for state in states for tensor in state.values())
        assert resumed.step == 1 and all(is_on_gpu(tensor) for tensor in resumed.network.state_dict().values())
        resumed.train_step()


def test_a_start_with_the_weights_of_a_model(shards, tmp_path):
    options = {"fold": -1, "spectrograms": shards, "seed": 1}
    with rehearsed_gpu():
        train(MEMBER, **options, out=tmp_path / "first")
        member = replace(MEMBER, epochs=2, epoch_size=1, freeze_epochs=1)
        train(member, **options, out=tmp_path / "second", start=tmp_path / "first")
    assert read_metadata(tmp_path / "second").start.new == []


def test_distillation(shards, tmp_path):
    clips = list(read_clips(shards)["clip"])
    targets = Targets(clips, np.full((len(clips), len(CLASSES)), 0.5, np.float32))
    member = replace(MEMBER, loss="bce")
    with rehearsed_gpu():
        train(member, fold=-1, spectrograms=shards, out=tmp_path / "model", seed=1, targets=targets)
    assert read_metadata(tmp_path / "model").targets == targets.digest


def test_trainings_on_parts_of_the_clips(tmp_path):
    spectrograms = write_spectrograms(tmp_path / "spectrograms")
    training = plan(spectrograms, member=replace(SHORT_DRAW, epochs=1, epoch_size=1))[0]
    with rehearsed_gpu():
        train_and_score(training, folder=tmp_path, checkpoints=str(tmp_path / "kept"))
    assert np.isfinite(read_predictions(training.path(tmp_path)).scores).all()


@pytest.mark.parametrize("memory", MEMORY.values(), ids=MEMORY)
def test_prediction(run, tmp_path, memory):
    with rehearsed_gpu(memory=memory):
        predict(
            models_of(run)[0],
            spectrograms=run / "spectrograms",
            selection=run / "selection",
            out=tmp_path / "scores.parquet",
        )
    assert set(read_predictions(tmp_path / "scores.parquet").rows["part"]) == {"validation", "test", "disturbance"}


def test_prediction_by_the_linear_model(shards, tmp_path):
    with rehearsed_gpu():
        train(LINEAR_MEMBER, fold=-1, spectrograms=shards, out=tmp_path / "model", seed=1)
        model, data = load_model(tmp_path / "model"), read_spectrograms(shards, parts=["test"])
        assert is_on_gpu(model.network.weight)
        assert score_clips(model, data.frames, data.offsets).shape == (2, len(CLASSES))


def test_rescoring(run, tmp_path, monkeypatch):
    clips = read_clips(run / "spectrograms")
    new = clips[clips["part"].isin(["curated", "test"])][["clip", "part"]].replace({"curated": "validation"})
    monkeypatch.setattr(rescoring, "best_folder", lambda champions: run)
    monkeypatch.setattr(rescoring, "newer_clips", lambda *_, **__: pd.DataFrame(new))
    out = tmp_path / "scores.parquet"
    with rehearsed_gpu():
        rescoring.rescore(run, spectrograms=run / "spectrograms", champions=run, out=out)
    assert len(read_predictions(out).rows) == len(new) * len(MEMBERS)


@pytest.mark.parametrize("device", [None, "cuda", "cuda:0"])
def test_tagging(run, device):
    with rehearsed_gpu():
        networks = TorchNetworks(run / "models", device=device)
        scores = networks.score([np.zeros((128, 128), np.uint8), np.zeros((400, 128), np.uint8)])
        assert all(is_on_gpu(weight) for folds in networks.models.values() for weight in folds[0].network.parameters())
    assert scores.shape == (len(MEMBERS), 2, 4)
