from dataclasses import asdict

import numpy as np
import pytest
from helpers.noisy_spectrograms import CLASSES, write_spectrograms
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from audiotagging.artifacts.model_folder import read_history
from audiotagging.artifacts.predictions import read_predictions
from audiotagging.artifacts.selection import LINEAR_PREDICTIONS, read_folds, read_noisy_clips
from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.members import LINEAR_MEMBER
from audiotagging.statistics.metrics import label_table
from audiotagging.training.linear_model import BANDS, INVERSE_PENALTY, PERCENTILES, clip_statistics, fit_linear_model
from audiotagging.training.prediction import predict
from audiotagging.training.select import read_statistics, select
from audiotagging.training.train import train_row


@pytest.fixture(scope="module")
def spectrograms(tmp_path_factory):
    return write_spectrograms(tmp_path_factory.mktemp("linear") / "spectrograms")


def test_the_statistics_are_those_of_numpy():
    frames = np.random.default_rng(1).integers(0, 256, (75, 128), dtype=np.uint8)
    for row, (start, end) in zip(
        clip_statistics(frames, np.array([0, 50, 51, 75])), [(0, 50), (50, 51), (51, 75)], strict=True
    ):
        bands = np.stack([band.mean(axis=1) for band in np.split(frames[start:end].astype(float), BANDS, axis=1)], 1)
        steps = np.abs(bands[1:] - bands[:-1]).mean(axis=0) if len(bands) > 1 else np.zeros(BANDS)
        percentiles = np.percentile(bands, 100 * np.array(PERCENTILES), axis=0, method="nearest")
        expected = np.concatenate([bands.mean(axis=0), bands.std(axis=0), steps, percentiles.ravel()])
        assert row == pytest.approx(expected, abs=1e-4)


def test_the_model_is_the_logistic_regression_of_scikit_learn():
    rng = np.random.default_rng(2)
    statistics = rng.normal(5, 20, (90, 12)) * np.array([0.0, *np.geomspace(0.01, 100, 11)])  # one is constant
    truth = statistics @ rng.normal(size=(12, 4)) + rng.normal(0, 30, (90, 4)) > 20
    truth[:, 3] = False  # nothing to learn
    model = fit_linear_model(statistics, truth)
    scaled = StandardScaler().fit_transform(statistics)
    for label in range(3):
        judge = LogisticRegression(C=INVERSE_PENALTY, tol=1e-8, max_iter=1000).fit(scaled, truth[:, label])
        assert model.score(statistics)[:, label] == pytest.approx(judge.predict_proba(scaled)[:, 1], abs=2e-3)
    assert model.score(statistics)[:, 3].max() < 0.05


def test_agreement_takes_the_clips_whose_labels_are_right(spectrograms, tmp_path):
    select(spectrograms, noisy_choice={"noisy": "agreement"}, seed=1, out=tmp_path / "selection")
    chosen = read_noisy_clips(tmp_path / "selection", read_clips(spectrograms))
    right = {f"noisy{number:02}.wav" for number in range(48) if number % 9 >= 3}
    assert set(chosen["fname"]) == right and (chosen["margin"].astype(float) > 0).all()


@pytest.mark.parametrize("noisy", ["none", "all"])
def test_every_curated_clip_is_predicted_by_a_model_that_did_not_see_it(spectrograms, tmp_path, noisy):
    select(spectrograms, noisy_choice={"noisy": noisy}, seed=1, out=tmp_path / "selection")
    found, clips = read_predictions(tmp_path / "selection" / LINEAR_PREDICTIONS), read_clips(spectrograms)
    assert found.classes == CLASSES and set(found.rows["part"]) == {"validation"}
    statistics, truth = read_statistics(spectrograms, clips), label_table(clips["labels"].tolist(), CLASSES)
    fold = clips["clip"].map(read_folds(tmp_path / "selection")).fillna(-1).to_numpy()
    for held_out in range(5):
        fitted = (fold != held_out) & ((clips["part"] == "curated") | (noisy == "all")).to_numpy()
        expected = fit_linear_model(statistics[fitted], truth[fitted]).score(statistics[fold == held_out])
        rows = found.rows["clip"].isin(clips["clip"][fold == held_out]).to_numpy()
        assert rows.sum() == 12 and found.scores[rows] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("fold", [-1, 2])
def test_a_member_is_the_model_that_was_fitted_without_its_fold(spectrograms, tmp_path, fold):
    select(spectrograms, noisy_choice={"noisy": "all"}, seed=1, out=tmp_path / "selection")
    places = {"spectrograms": spectrograms, "selection": tmp_path / "selection"}
    row = asdict(LINEAR_MEMBER) | {"fold": fold}
    train_row(row, **places, init={}, out=tmp_path / "model", seed=1, checkpoints="", champions="", warm_start=0.0)
    predict(tmp_path / "model", **places, out=tmp_path / "predictions.parquet")
    found = read_predictions(tmp_path / "predictions.parquet")
    expected = read_predictions(tmp_path / "selection" / LINEAR_PREDICTIONS)
    rows = expected.rows["clip"].isin(found.rows["clip"]).to_numpy()
    assert rows.sum() == len(found.scores) == (12 if fold >= 0 else 0)
    assert found.scores == pytest.approx(expected.scores[rows], abs=1e-6)
    history = read_history(tmp_path / "model")
    assert (history["lwlrap"].notna() == (fold >= 0)).all() and (history["loss"] < 1).all()
