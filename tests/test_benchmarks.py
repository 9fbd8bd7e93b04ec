"""Every row of `make bench` runs: here on a few clips, small pictures and with one round. So does that of recipes."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from helpers.fabricated import fabricate_run
from sklearn.metrics import label_ranking_average_precision_score

from benchmarks import __main__ as bench
from benchmarks import frame, onnx, preprocessing, recipe, threads, training


@pytest.fixture(scope="module")
def little_work(narrow_networks):
    with pytest.MonkeyPatch.context() as patch:
        for module in (onnx, preprocessing, training):
            patch.setattr(module, "race", lambda ours, other, rounds=1: frame.race(ours, other, rounds=1))
        patch.setattr(preprocessing, "CLIPS", 8)
        patch.setattr(preprocessing, "REPEATS", 1)
        patch.setattr(training, "CLIPS", 4)
        patch.setattr(training, "STEP", replace(training.STEP, size=32, batch_size=2))
        patch.setattr(threads, "WARM_UP", 0)
        patch.setattr(threads, "STEPS", 1)
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("little_work")
@pytest.mark.parametrize("name", bench.ROWS)
def test_a_row_compares_two_figures(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", name])
    bench.main()
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split() == ["row", "ours", "other", "ratio", "unit"]
    assert row.startswith(name) and all(float(figure) > 0 for figure in row.removeprefix(name).split()[:3])


def made_scores(truth, *, skill, seeds, rng):
    return np.stack([skill * truth + rng.random(truth.shape) for _ in range(seeds)])


def test_recipes_are_compared_over_all_clips_and_seeds():
    rng = np.random.default_rng(1)
    truths = [rng.random((clips, 5)) < 0.3 for clips in (60, 90)]
    truths = [truth[truth.any(axis=1)] for truth in truths]
    better, worse = (
        [made_scores(truth, skill=skill, seeds=seeds, rng=rng) for truth in truths]
        for skill, seeds in ((0.8, 2), (0.3, 3))
    )

    def pooled(systems):
        """Weigh each data set by its number of labels, as scikit-learn weighs clips."""
        scores = [
            np.mean(
                [label_ranking_average_precision_score(truth, each, sample_weight=truth.sum(axis=1)) for each in found]
            )
            for truth, found in zip(truths, systems, strict=True)
        ]
        return np.average(scores, weights=[truth.sum() for truth in truths])

    score, gain = recipe.compare(better, worse, truths)
    assert score == pytest.approx(pooled(better)) and gain["score"] == pytest.approx(pooled(better) - pooled(worse))
    assert 0 < gain["low"] < gain["score"] < gain["high"]
    _, same = recipe.compare(better, better, truths)
    assert same["score"] == 0 and same["low"] < 0 < same["high"]  # seeds are drawn for each of the two


@pytest.mark.slow
def test_recipes_are_trained_once_and_compared(tmp_path, monkeypatch, capsys):
    tiny = replace(recipe.BASE, epochs=1, epoch_size=2, batch_size=2)
    candidates = {"reference": [tiny], "no mixup": [replace(tiny, mixup=0.0)]}
    monkeypatch.setattr(recipe, "BASE", tiny)
    monkeypatch.setattr(recipe, "CANDIDATES", candidates)
    monkeypatch.setattr(recipe, "STEPS", 1)
    outs = [str(fabricate_run(tmp_path / name, clips=12, seed=seed)) for seed, name in enumerate("ab")]
    command = ["recipe", str(tmp_path / "results"), *outs, "--seeds", "2"]
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", command)
        recipe.main()
        heading, _, reference, other = capsys.readouterr().out.splitlines()
        assert heading.startswith("| candidate | lwlrap | difference")
        assert reference.startswith("| reference | ") and other.startswith("| no mixup | ")
        trained = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").glob("*.parquet")}
        assert len(trained) == 2 * 2 * 2
        monkeypatch.setattr(recipe.subsets, "train_all", lambda trainings, **_: iter(() if not trainings else 1 / 0))
