"""Batches of sounds made from formulas, with scores drawn from distributions, are compared with test clips."""

import json
import re
import shutil
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from helpers.fabricated import PLAIN, fabricate_run, models_of, predictions_of, replace_weights
from helpers.slow import slow_but
from helpers.tiny_ensemble import READABLE, tag_options
from scipy.signal import butter, resample_poly, sosfilt
from scipy.stats import mannwhitneyu

from audiotagging.artifacts.acoustics import Acoustics
from audiotagging.artifacts.acoustics_table import write_acoustics
from audiotagging.artifacts.champions_folder import champion_folder
from audiotagging.artifacts.ensemble_folder import ENSEMBLE, read_ensemble
from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.base.errors import UserError
from audiotagging.champions.promotion import promote
from audiotagging.demo import CLASSES, clip
from audiotagging.ensemble.ensembling import ensemble
from audiotagging.members import REFERENCE
from audiotagging.sounds.acoustics import measure
from audiotagging.sounds.audio import RATE, trim
from audiotagging.statistics.metrics import lwlrap
from audiotagging.statistics.two_samples import superiority
from audiotagging.tagging.drift import Sounds, agreement_of, compare, read_test_clips
from commands.tag import run as run_command

LABELS = [f"Class {number}" for number in range(6)]


def quantised(samples):
    return (np.clip(np.round(samples * 2**15), -(2**15), 2**15 - 1) / 2**15).astype(np.float32)


def through_telephone(samples):
    """8 kHz, as telephones sample, and the band of 300 to 3400 Hz."""
    band = butter(4, [300, 3400], "bandpass", fs=8000, output="sos")
    return resample_poly(quantised(sosfilt(band, resample_poly(samples, 80, 441))), 441, 80).astype(np.float32)


def with_hum(samples):
    """Hum 10 dB below the sound."""
    time = np.arange(len(samples)) / RATE
    hum = sum(np.sin(2 * np.pi * 50 * each * time + each) / each for each in range(1, 11))
    return quantised(samples + hum * np.sqrt(np.mean(samples**2) / np.mean(hum**2) / 10))


def at_half_level(samples):
    return quantised(samples / 2)


def bootstrap(rng, sounds, *, skill=3.0, mix=None):
    """Draw scores of three members: each sees the true class of a sound, more clearly with more skill, and noise."""
    truth = rng.choice(len(LABELS), sounds, p=mix)
    logits = rng.normal(-3, 1, (3, sounds, len(LABELS)))
    logits[:, np.arange(sounds), truth] += skill
    scores = 1 / (1 + np.exp(-logits))
    return scores.mean(axis=0), scores


def draw(rng, sounds, *, acoustics=None, **scores):
    """Draw sounds with scores and acoustics, by default of normal distributions."""
    if acoustics is None:
        acoustics = pd.DataFrame(
            rng.normal([-20, 80, 9000, 1], [8, 40, 1500, 0.5], (sounds, 4)), columns=Acoustics._fields
        )
    return Sounds([f"{number}.wav" for number in range(sounds)], *bootstrap(rng, sounds, **scores), acoustics)


@pytest.fixture(scope="module")
def samples():
    """Samples of 240 sounds of the demo data set."""
    rng = np.random.default_rng(7)
    return [clip(rng, [str(rng.choice(sorted(CLASSES)))], rng.uniform(1, 3)) for _ in range(240)]


def recorded(samples, change=lambda samples: samples):
    return pd.DataFrame([measure(trim(change(each.astype(np.float32)))) for each in samples])


@pytest.mark.parametrize(("files", "clips"), [(20, 100), (100, 100), (1000, 400)])
@pytest.mark.parametrize("digits", [1, 8])
def test_superiority_is_the_mann_whitney_test(files, clips, digits):
    rng = np.random.default_rng(files)
    batch, test = rng.normal(0.3, 1, files).round(digits), rng.normal(0, 1, clips).round(digits)
    expected = mannwhitneyu(batch, test, method="asymptotic", use_continuity=False)
    assert superiority(batch, test) == pytest.approx((expected.statistic / files / clips, expected.pvalue), rel=1e-6)
    assert superiority(np.ones(files), np.ones(clips)) == (0.5, 1)


def test_agreement_is_the_lwlrap_of_each_member_with_the_best_tags_of_each_other():
    _, scores = bootstrap(np.random.default_rng(1), 50, skill=1.0)
    pairs = [(one, other) for one in range(3) for other in range(3) if one != other]
    expected = [lwlrap(np.eye(len(LABELS))[scores[other].argmax(axis=1)] > 0, scores[one]) for one, other in pairs]
    assert agreement_of(scores).mean() == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("files", slow_but([20, 100, 1000], 20))
def test_batches_of_the_same_source_are_fine_but_for_one_in_a_hundred(files):
    rng = np.random.default_rng(files)
    verdicts = [compare(draw(rng, files), draw(rng, 150), classes=LABELS).verdict for _ in range(200)]
    assert verdicts.count("fine") >= 196  # of 198 expected; fewer have a chance of 5 % if one in a hundred is wrong


@pytest.mark.parametrize(
    ("change", "name", "low"),
    [(through_telephone, "high", True), (with_hum, "hum", False), (at_half_level, "level", True)],
)
def test_changed_recordings_are_to_be_looked_at_and_the_cause_is_named(samples, change, name, low):
    rng = np.random.default_rng(1)
    test = draw(rng, 120, acoustics=recorded(samples[:120]))
    same = compare(draw(rng, 120, acoustics=recorded(samples[120:])), test, classes=LABELS)
    assert same.verdict == "fine" and not same.reasons
    batch = draw(rng, 120, acoustics=recorded(samples[120:], change))
    found = compare(batch, test, classes=LABELS)
    difference = found.quantities[name]
    assert found.verdict == "look" and difference.differs and (difference.above < 0.4) == low
    before = recorded(samples[120:])[name].median()
    assert difference.test == pytest.approx(recorded(samples[:120])[name].median())
    assert (difference.batch < before) == low


@pytest.mark.parametrize(
    ("name", "value", "why"), [("level", -70, "low level"), ("high", 500, "narrow band"), ("hum", 15, "hum")]
)
def test_less_than_half_of_a_batch_is_to_be_looked_at_and_these_files_are_named(name, value, why):
    rng = np.random.default_rng(1)
    test, batch = draw(rng, 200), draw(rng, 100)
    batch.acoustics.loc[:39, name] = value
    found = compare(batch, test, classes=LABELS)
    assert found.verdict == "look" and [each for each in found.quantities if found.quantities[each].differs] == [name]
    assert len(found.reasons) == 1 and len(found.unusual) == 10
    for each in found.unusual:
        assert int(each.file.removesuffix(".wav")) < 40 and why in each.why


def test_members_that_agree_less_call_for_a_retraining():
    rng = np.random.default_rng(1)
    found = compare(draw(rng, 100, skill=1.0), draw(rng, 150), classes=LABELS)
    assert found.verdict == "retrain"
    agreement = found.quantities["agreement"]
    assert agreement.differs and agreement.test - agreement.batch >= 0.1
    assert any(reason.startswith("The agreement of the members in lwlrap is lower") for reason in found.reasons)
    assert any("members disagree" in each.why for each in found.unusual)


def test_members_that_agree_more_do_not():
    rng = np.random.default_rng(1)
    assert compare(draw(rng, 100), draw(rng, 150, skill=1.0), classes=LABELS).verdict == "look"


def test_other_classes_are_to_be_looked_at_and_named():
    rng = np.random.default_rng(1)
    found = compare(draw(rng, 200, mix=[0.75, *[0.05] * 5]), draw(rng, 150), classes=LABELS)
    assert found.verdict == "look"
    assert found.classes["Class 0"].differs and found.classes["Class 0"].above > 0.5
    assert found.reasons[-1].startswith("The scores of classes differ: Class 0 (higher)")
    assert found.best_tags.differs and "The best tags differ: those of " in found.reasons[-2]


def test_other_recordings_with_other_tags_call_for_a_retraining_also_if_the_members_agree():
    rng = np.random.default_rng(1)
    test, batch = draw(rng, 150), draw(rng, 200, mix=[0.75, *[0.05] * 5])
    batch.acoustics["high"] /= 2
    found = compare(batch, test, classes=LABELS)
    assert found.verdict == "retrain" and not found.quantities["agreement"].differs


def test_the_share_of_files_with_another_best_tag_is_the_total_variation():
    rng = np.random.default_rng(1)
    batch, test = draw(rng, 300, mix=[0.5, *[0.1] * 5]), draw(rng, 200)
    found = compare(batch, test, classes=LABELS).best_tags
    shares = [[(each.scores.argmax(axis=1) == place).mean() for place in range(6)] for each in (batch, test)]
    assert found.share == pytest.approx(np.maximum(0, np.subtract(*shares)).sum())
    together = np.concatenate([batch.scores, test.scores]).argmax(axis=1)
    drawn = []
    for _ in range(300):
        rng.shuffle(together)
        parts = [(part[:, None] == np.arange(6)).mean(axis=0) for part in (together[:300], together[300:])]
        drawn.append(np.maximum(0, np.subtract(*parts)).sum())
    assert found.chance == pytest.approx(np.mean(drawn), abs=0.005) and found.differs


def test_a_small_difference_is_none_however_many_files_have_it():
    rng = np.random.default_rng(1)
    batch = draw(rng, 5000)
    batch.acoustics["level"] += 1.5
    found = compare(batch, draw(rng, 5000), classes=LABELS)
    assert found.quantities["level"].p < 1e-6 and found.verdict == "fine"


@pytest.mark.parametrize("files", [1, 2, 5])
def test_a_few_files_are_compared_too(files):
    rng = np.random.default_rng(1)
    found = compare(draw(rng, files), draw(rng, 150), classes=LABELS)
    assert found.files == files and found.verdict in ("fine", "look", "retrain")
    assert all(np.isfinite([each.above, each.p]).all() for each in found.quantities.values())


def test_what_an_older_champion_or_one_of_one_member_lacks_is_left_out():
    rng = np.random.default_rng(1)
    test, batch = draw(rng, 150), draw(rng, 100, skill=1.0)
    test = replace(test, acoustics=None, member_scores=test.member_scores[:1])
    found = compare(replace(batch, member_scores=batch.member_scores[:1]), test, classes=LABELS)
    assert found.verdict == "look" and found.quantities.keys() == {"confidence"}
    assert "Level, band and hum were not compared" in found.reasons[-2]
    assert "Agreement was not compared" in found.reasons[-1]


def test_the_result_is_json_and_text():
    rng = np.random.default_rng(1)
    found = compare(draw(rng, 100, skill=1.0), draw(rng, 150), classes=LABELS)
    assert json.loads(json.dumps(asdict(found)))["verdict"] == "retrain"
    lines = found.lines()
    assert lines[0] == "retrain: 100 files compared with 150 test clips"
    assert len(lines) == len(found.reasons) + 2 and lines[-1].startswith("  The files that differ most: ")


@pytest.fixture(scope="module")
def fabricated(tmp_path_factory):
    """A run, whose acoustics are the places of the clips."""
    run = fabricate_run(tmp_path_factory.mktemp("run"), members=REFERENCE[:2], pictures=False)
    clips = read_clips(run / "spectrograms")
    rows = [
        (clip, part, Acoustics(place, 1, 2, 3)) for place, (clip, part) in enumerate(clips[["clip", "part"]].values)
    ]
    write_acoustics(run / "spectrograms", rows)
    for model in models_of(run):
        replace_weights(model, model.name.encode())
    ensemble(predictions_of(run), spectrograms=run / "spectrograms", out=run / "averaged", **PLAIN)
    return run, {clip: place for clip, part, (place, *_) in rows if part == "test"}


def test_the_test_clips_of_a_run_and_of_a_champion_are_read(fabricated, tmp_path):
    run, places = fabricated
    promote(
        run / "averaged",
        models=models_of(run),
        spectrograms=run / "spectrograms",
        selection=run / "selection",
        champions=tmp_path,
    )
    predictions, _ = read_ensemble(run / "averaged")
    rows = predictions.rows
    for path in (run / "averaged").iterdir():  # which is where the command `run` has them
        shutil.copy(path, run)
    for folder in (run, champion_folder(tmp_path)):
        found, classes = read_test_clips(folder)
        assert classes == predictions.classes and set(found.names) == set(places)
        assert found.acoustics["level"].tolist() == [places[name] for name in found.names]
        for member, scores in zip(
            [*(member.id for member in REFERENCE[:2]), ENSEMBLE], [*found.member_scores, found.scores], strict=True
        ):
            for name, each in zip(found.names, scores, strict=True):
                here = (rows["clip"] == name) & (rows["part"] == "test") & (rows["member"] == member)
                assert np.array_equal(each, predictions.scores[here.to_numpy()][0])


def test_an_ensemble_of_an_earlier_version_has_no_acoustics(fabricated, tmp_path):
    for name in ("predictions.parquet", "ensemble.json"):
        (tmp_path / name).symlink_to(fabricated[0] / "averaged" / name)
    assert read_test_clips(tmp_path)[0].acoustics is None


def test_models_alone_and_runs_without_test_clips_cannot_be_compared_with(fabricated, tmp_path):
    with pytest.raises(UserError, match=r"expected a champion or the output of a run with predictions\.parquet"):
        read_test_clips(fabricated[0] / "models")
    run = fabricate_run(tmp_path / "run", members=REFERENCE[:2], pictures=False, test=False)
    ensemble(predictions_of(run), spectrograms=run / "spectrograms", out=tmp_path / "averaged", **PLAIN)
    with pytest.raises(UserError, match="expected predictions of test clips"):
        read_test_clips(tmp_path / "averaged")


def test_the_command_compares_what_it_tags_and_writes_and_prints_the_result(compared_run, sounds, tmp_path, capsys):
    options = {"files": [sounds], "models": compared_run, "drift": tmp_path / "drift.json", "format": "json"}
    assert run_command(tag_options(**options)) == 1
    printed = capsys.readouterr()
    assert len(json.loads(printed.out)) == len(READABLE)
    found = json.loads((tmp_path / "drift.json").read_text())
    assert found["verdict"] == "fine" and found["files"] == found["clips"] == len(READABLE)
    assert all(each["above"] == 0.5 and each["p"] == 1 for each in found["quantities"].values())
    assert "fine: 8 files compared with 8 test clips" in printed.err.splitlines()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 1.0}, "--drift: expected whole files to compare, found --every beside it"),
        ({"files": ["text.wav"]}, "--drift: expected files to compare, found none that can be read"),
        ({"models": "models"}, "expected a champion or the output of a run with predictions.parquet"),
    ],
)
def test_what_cannot_be_compared_is_refused(compared_run, sounds, tmp_path, options, message):
    given = {"files": ["plain.wav"], "models": ".", "drift": "drift.json"} | options
    given |= {"files": [sounds / name for name in given["files"]], "models": compared_run / given["models"]}
    with pytest.raises(UserError, match=re.escape(message)):
        run_command(tag_options(**given | {"drift": tmp_path / given["drift"]}))
    assert not (tmp_path / "drift.json").exists()
