from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.fabricated import fabricate_run, finish_run, predictions_of

from audiotagging.artifacts.ensemble_folder import read_ensemble
from audiotagging.artifacts.predictions import read_predictions, write_predictions
from audiotagging.artifacts.spectrogram_shards import read_clips
from commands import distil

pytestmark = pytest.mark.usefixtures("blank_plots")

UNHEARD = "Class_003"


def test_clips_with_a_class_that_their_models_never_heard_are_taught_by_all_models(tmp_path, monkeypatch):
    run = fabricate_run(tmp_path / "run", test=False, noisy=False, pictures=False)
    for path in predictions_of(run):
        write_predictions(path, replace(read_predictions(path), unheard=[UNHEARD]))
    finish_run(run)
    taught_by_all = []

    def score_all(teacher, data):
        taught_by_all.extend(data.clips["clip"])
        return np.full((len(data.clips), len(data.classes)), 0.5, np.float32)

    monkeypatch.setattr(distil, "_score_all", score_all)
    teacher = SimpleNamespace(networks=SimpleNamespace(version=lambda: "0123456789abcdef"))
    distil._teach(run, read_ensemble(run)[0], teacher, kept=tmp_path)
    clips = read_clips(run / "spectrograms").query("part == 'curated'")
    assert sorted(taught_by_all) == sorted(clips["clip"][[UNHEARD in labels for labels in clips["labels"]]])
    assert 0 < len(taught_by_all) < len(clips)
