import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from safetensors.torch import save

from audiotagging.artifacts.acoustics_table import write_acoustics
from audiotagging.artifacts.averaging import Averaging
from audiotagging.artifacts.calibration import Calibration, Curve, Threshold
from audiotagging.artifacts.ensemble_folder import ENSEMBLE
from audiotagging.artifacts.predictions import Predictions, write_predictions
from audiotagging.base.typed_json import write_json
from audiotagging.members import DEMO
from audiotagging.tagging.loading import load_tagger
from audiotagging.training.networks import NETWORKS
from helpers.fabricated import fabricate_run, models_of, replace_weights
from helpers.tiny_ensemble import MEMBERS, RATE, READABLE, chirp, tiny


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose models have weights, though not trained ones, and a network that takes no time."""
    run = fabricate_run(tmp_path_factory.mktemp("run"), members=MEMBERS, classes=6, clips=4)
    for number, path in enumerate(models_of(run)):
        torch.manual_seed(number)
        replace_weights(path, save(tiny(4 * 6).state_dict()))
    weights = dict.fromkeys([member.id for member in MEMBERS], 1 / len(MEMBERS))
    write_json(run / "ensemble.json", asdict(Averaging("arithmetic", weights)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, DEMO[0].network, tiny)
        yield run


@pytest.fixture(scope="module")
def tagger(run):
    return load_tagger(run / "models")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Sound files by what is special about them."""
    folder = tmp_path_factory.mktemp("sounds")
    both = np.stack([chirp(3), chirp(3, seed=1)], axis=1)
    stored = {
        "plain.wav": (chirp(3), RATE),
        "short.flac": (chirp(0.4), RATE),
        "ogg.ogg": (chirp(3), RATE),
        "mp3.mp3": (chirp(3), RATE),
        "slow.wav": (chirp(3, 8000), 8000),
        "stereo.wav": (both, RATE),
        "one sample.wav": (np.array([0.5]), RATE),
        "silent.wav": (np.zeros(RATE), RATE),
    }
    for name, (samples, rate) in stored.items():
        soundfile.write(folder / name, samples, rate)
    (folder / "text.wav").write_text("no sound")
    soundfile.write(folder / "empty.wav", np.zeros(0), RATE)
    return folder


@pytest.fixture(scope="module")
def calibrated(run, sounds, tagger, tmp_path_factory):
    """The run with a calibration that halves the odds, and thresholds between the scores of the sounds."""
    out = tmp_path_factory.mktemp("calibrated")
    (out / "models").symlink_to(run / "models")
    files = list(tagger.tag([sounds / name for name in READABLE]))
    lowest = np.median([file.scores for file in files], axis=0)
    curve = Curve([-13.0, 13.0], [-13.0 - np.log(2), 13.0 - np.log(2)])
    thresholds = {label: [] for label in tagger.classes}
    for label, score in list(zip(tagger.classes, lowest.tolist(), strict=True))[1:]:
        thresholds[label] = [Threshold(0.9, score, clips=20, precision=0.97, low=0.91, high=0.99, recall=0.5)]
    calibration = Calibration("platt", {"platt": 0.1}, False, dict.fromkeys(tagger.classes, curve))
    averaging = Averaging("arithmetic", {member.id: 0.5 for member in MEMBERS}, calibration, thresholds)
    (out / "ensemble.json").write_text(json.dumps(asdict(averaging)))
    expected = {}
    for file in files:
        odds = file.scores / (1 - file.scores) / 2
        passed = [number for number in range(1, 6) if file.scores[number] >= lowest[number] and not file.silent]
        passed.sort(key=lambda number, scores=file.scores: -scores[number])
        expected[str(file.path)] = [(tagger.classes[n], float(odds[n] / (1 + odds[n]))) for n in passed]
    return out, expected


@pytest.fixture(scope="module")
def compared_run(run, sounds, tagger, tmp_path_factory):
    """The run with test clips, which are the readable sounds."""
    out = tmp_path_factory.mktemp("compared")
    for name in ("models", "ensemble.json"):
        (out / name).symlink_to(run / name)
    files = list(tagger.tag([sounds / name for name in READABLE]))
    members = [*tagger.networks.members, ENSEMBLE]
    rows = pd.DataFrame([(name, "test", member, -1) for member in members for name in READABLE])
    scores = [[file.member_scores[place] for file in files] for place in range(len(members) - 1)]
    scores = np.concatenate([*scores, [file.scores for file in files]])
    rows.columns = ["clip", "part", "member", "fold"]
    write_predictions(out / "predictions.parquet", Predictions(tagger.classes, rows, scores))
    write_acoustics(out, [(name, "test", file.acoustics) for name, file in zip(READABLE, files, strict=True)])
    return out
