"""The exported graphs, computed by ONNX Runtime, against what the pipeline computes with numpy and torch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from helpers.slow import slow_but
from helpers.tiny_ensemble import chirp, tiny
from torch import nn

from audiotagging.artifacts.averaging import MEANS, Averaging, average
from audiotagging.artifacts.onnx_metadata import INPUT, MEMBER_SCORES, SCORES
from audiotagging.base.machine import threads
from audiotagging.export.graphs import ClipScores, EnsembleScores, LinearScores, Spectrogram
from audiotagging.export.onnx_files import EXAMPLE, EXAMPLE_SAMPLES, SAMPLES, export_graph
from audiotagging.members import DEMO, ENSEMBLES, LINEAR_MEMBER
from audiotagging.sounds.audio import RATE, decode
from audiotagging.sounds.spectrogram import clip_spectrogram
from audiotagging.training.linear_model import STATISTICS, fit_linear_model
from audiotagging.training.networks import NETWORKS
from audiotagging.training.prediction import Model, score_clips

CLASSES = list("abcdef")
SOUNDS = Path(__file__).parent.parent / "reference" / "audio"
TABLE = [member for ensemble in ENSEMBLES.values() for member in ensemble]
# The members that differ in what is computed after training.
PICTURES = {(each.network, each.frames, each.size, each.overlap, each.tail): each for each in TABLE}
SMALLEST = next(each for each in PICTURES.values() if each in DEMO and each.network == "xresnet18ssa")


def session(module, example, *, inputs, outputs):
    graph = export_graph(module, example, inputs=inputs, outputs=outputs)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def trained(network):
    """Give a network statistics and weights as after training, so that every layer matters to its scores."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.weight.data.uniform_(0.5, 1, generator=generator)
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
        if hasattr(module, "gamma"):
            module.gamma.data.fill_(1e-3)
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    last.weight.data *= 10  # so that clips differ in their scores
    return network.eval()


def test_a_linear_model_has_the_scores_of_torch():
    random = np.random.default_rng(1)
    truth = random.random((40, len(CLASSES))) < 0.4
    network = fit_linear_model(random.uniform(0, 200, (40, STATISTICS)), truth)
    model = Model(network, LINEAR_MEMBER, CLASSES, -1)
    exported = session(LinearScores(network), [EXAMPLE], inputs=[INPUT], outputs=[SCORES, MEMBER_SCORES])
    for frames in (1, 2, 3, 128, 1000):
        spectrogram = random.integers(0, 256, (frames, 128), dtype=np.uint8)
        scores, own = exported.run([SCORES, MEMBER_SCORES], {INPUT: spectrogram})
        expected = score_clips(model, spectrogram, np.array([0, frames]), label=None)
        assert own == pytest.approx(expected, abs=1e-5) and (own[0] == scores).all()


def assert_same_scores(member, network, lengths):
    model = Model(network, member, CLASSES, -1)
    exported = session(ClipScores(model), [EXAMPLE], inputs=[INPUT], outputs=[SCORES, MEMBER_SCORES])
    random = np.random.default_rng(1)
    seen = []
    for length in lengths:
        coarse = random.integers(0, 256, (length // 16 + 1, 16), np.uint8)
        clip = np.kron(coarse, np.ones((16, 8), np.uint8))[:length]  # large patches, because networks hear no noise
        (expected,) = score_clips(model, clip, np.array([0, length]), precision="float32", label=None)
        scores, alone = exported.run(None, {INPUT: clip})
        assert scores == pytest.approx(expected, abs=1e-4), length
        assert np.array_equal(alone, [scores])
        seen.append(scores)
    assert np.ptp(seen, axis=0).max() > 1e-3 and np.ptp(seen, axis=1).max() > 1e-3  # they depend on clip and class


@pytest.mark.parametrize("member", slow_but(PICTURES.values(), SMALLEST), ids=lambda member: member.id)
def test_every_member_has_the_scores_of_torch(member):
    torch.manual_seed(1)
    assert_same_scores(member, trained(NETWORKS[member.network](4 * len(CLASSES))), [128, 301, 640])


@pytest.mark.parametrize(
    ("frames", "overlap", "tail"),
    slow_but([(64, 0, True), (128, 0.3, True), (128, 0, False), (256, 0.3, False)], (256, 0.3, False)),
)
def test_windows_are_those_of_the_pipeline(frames, overlap, tail):
    torch.manual_seed(1)
    member = replace(DEMO[0], frames=frames, overlap=overlap, tail=tail, size=32)
    assert_same_scores(member, tiny(4 * len(CLASSES)).eval(), [1, 127, 128, 129, 255, 256, 257, 300, 1000])


@pytest.fixture(scope="module")
def spectrogram():
    return session(Spectrogram(), [EXAMPLE_SAMPLES], inputs=[SAMPLES], outputs=[INPUT])


def silence(seconds):
    return np.zeros(round(seconds * RATE), np.float32)


CLIPS = {path.name: decode(path).samples for path in sorted(SOUNDS.iterdir()) if path.suffix != ".md"}
CLIPS |= {
    "a minute": chirp(60),
    "two seconds": chirp(2),
    "a sample more": chirp(2 + 1.5 / RATE),
    "short": chirp(0.01),
    "one sample": chirp(1)[:1] + 0.5,
    "one block": chirp(512.5 / RATE),
    "quiet ends": np.concatenate([silence(0.7), chirp(1.3), silence(1.1)]),
    "quiet start": np.concatenate([silence(3), chirp(3)]),
    "silence": silence(3),
    "an offset": 0.9 + np.random.default_rng(1).normal(0, 1e-5, RATE).astype(np.float32),  # louder than the rest by far
}


@pytest.mark.parametrize("name", CLIPS)
def test_the_spectrogram_is_that_of_the_pipeline(spectrogram, name):
    expected = clip_spectrogram(CLIPS[name])
    (found,) = spectrogram.run(None, {SAMPLES: CLIPS[name]})
    assert found.dtype == np.uint8 and found.shape == expected.shape
    # As between the pipeline and librosa: rounding moves some pixels to the next of 256 levels.
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1 and np.mean(difference > 0) <= 1e-3


@pytest.mark.parametrize("mean", MEANS)
def test_averages_are_those_of_the_pipeline(mean):
    models, weights = ["a", "a", "b", "c"], {"a": 0.2, "b": 0.3, "c": 0.5}
    scores = np.random.default_rng(1).integers(0, 5, (4, 6)).astype(np.float32) / 4  # equal scores, 0 and 1
    members = np.stack([scores[:2].mean(axis=0), *scores[2:]])
    names = [str(number) for number in range(4)]
    module = EnsembleScores(Averaging(mean, weights), models)
    exported = session(module, list(torch.zeros(4, 6)), inputs=names, outputs=[SCORES, MEMBER_SCORES])
    found, found_members = exported.run(None, dict(zip(names, scores, strict=True)))
    (expected,) = average(members[:, None], mean=mean, weights=np.array(list(weights.values())))
    assert found == pytest.approx(expected, abs=1e-6) and np.ptp(found) > 0.1
    assert found_members == pytest.approx(members, abs=1e-6)
