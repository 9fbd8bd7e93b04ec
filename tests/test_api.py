"""The library as it is imported: what it offers, that it computes what the commands print, and what it refuses."""

import ast
import doctest
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers.example_run import CLASSES, write_example
from helpers.modules import BLOCK
from helpers.tagging_fixtures import calibrated, run, sounds, tagger  # noqa: F401
from helpers.tiny_ensemble import RATE, READABLE, chirp, tag_options
from sklearn.metrics import label_ranking_average_precision_score

import audiotagging
from audiotagging import api
from audiotagging.artifacts.predictions import read_predictions
from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.sounds.audio import decode
from audiotagging.sounds.spectrogram import clip_spectrogram
from commands.tag import run as run_command
from docs.api import render

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def ours(calibrated):  # noqa: F811
    """The public tagger of the calibrated run."""
    return audiotagging.load(calibrated[0])


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """A folder with the finished run OUT."""
    return write_example(tmp_path_factory.mktemp("example"))


def printed(capsys, **options):
    """Return what the command `tag` prints as JSON."""
    run_command(tag_options(format="json", **options))
    return json.loads(capsys.readouterr().out)


def test_importing_it_imports_no_package_and_no_other_module():
    script = f"PACKAGES = {{'numpy', 'pandas', 'torch', 'kfp'}}\n{BLOCK}\nimport audiotagging\n"
    script += "print([name for name in sys.modules if name.startswith('audiotagging')], *dir(audiotagging))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("['audiotagging'] ")
    assert set(audiotagging.__all__) <= set(done.stdout.split())


@pytest.mark.parametrize(
    "examples", [found for found in doctest.DocTestFinder().find(api) if found.examples], ids=lambda found: found.name
)
def test_the_examples_in_the_docstrings_print_what_they_say(examples, example, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(example, tmp_path / "example"))
    printed = []
    failed, tried = doctest.DocTestRunner().run(examples, out=printed.append)
    assert tried and not failed, "".join(printed)


def test_type_checkers_see_what_is_offered():
    tree = ast.parse(Path(audiotagging.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    assert sorted(alias.name for node in block.body for alias in node.names) == audiotagging.__all__
    assert Path(audiotagging.__file__).with_name("py.typed").is_file()
    for name in audiotagging.__all__:
        assert getattr(audiotagging, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'tag'"):
        audiotagging.tag  # noqa: B018


def test_tags_are_those_of_the_command(ours, run, sounds, capsys):  # noqa: F811
    paths = [sounds / name for name in READABLE]
    tags = audiotagging.load(run).tag(map(str, paths))
    expected = printed(capsys, files=paths, models=run, top=99)
    assert tags["file"].unique().tolist() == [row["file"] for row in expected if row["tags"]]
    for row in expected:
        found = tags[tags["file"] == row["file"]]
        assert found[["label", "score"]].to_dict("records") == row["tags"]
    assert tags[["probability", "threshold"]].isna().all(axis=None)  # it was trained without folds


@pytest.mark.parametrize("precision", [0.8, 0.9])
def test_promised_tags_are_those_of_the_command(calibrated, ours, sounds, precision, capsys):  # noqa: F811
    paths = [sounds / name for name in READABLE]
    tags = ours.tag(paths, precision=precision)
    tags = tags[tags["score"] >= tags["threshold"]]
    expected = printed(capsys, files=paths, models=calibrated[0], top=99, precision=precision)
    assert sum(len(row["tags"]) for row in expected) == len(tags)
    for row in expected:
        found = tags[tags["file"] == row["file"]].rename(columns={"score": "_", "probability": "score"})
        assert found[["label", "score"]].to_dict("records") == row["tags"]
    assert (len(tags) > 0) == (precision == 0.9)
    lowest = ours.thresholds[precision].dropna()
    assert len(lowest) == (5 if precision == 0.9 else 0)


def test_windows_are_those_of_the_command(calibrated, ours, sounds, capsys):  # noqa: F811
    path = sounds / "stereo.wav"
    options = {"every": 1.5, "overlap": 0.5}
    found = ours.windows(path, **options, channel=2)
    expected = printed(capsys, files=[path], models=calibrated[0], top=99, channel=2, **options)
    assert found[["file", "start", "end", "label", "score"]].to_dict("records") == expected
    promised = printed(capsys, files=[path], models=calibrated[0], top=99, precision=0.9, channel=2, **options)
    found = found[found["score"] >= found["threshold"]]
    assert len(promised) == len(found) > 0
    assert found["probability"].tolist() == [row["score"] for row in promised]


@pytest.mark.parametrize(("rate", "seconds"), [(RATE, 1), (8000, 63)])  # a minute is scored at once
def test_samples_have_the_tags_of_a_file_of_them(ours, tmp_path, rate, seconds):
    samples = chirp(seconds, rate)
    path = tmp_path / "samples.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    columns = ["label", "score", "probability", "threshold"]
    pd.testing.assert_frame_equal(ours.tag(samples, rate)[columns], ours.tag(path)[columns])
    assert ours.tag(samples.astype(float), float(rate))["file"].unique().tolist() == [""]
    found, expected = ours.windows(samples, rate, every=seconds / 2), ours.windows(path, every=seconds / 2)
    pd.testing.assert_frame_equal(found.drop(columns="file"), expected.drop(columns="file"))
    np.testing.assert_array_equal(audiotagging.spectrogram(samples, rate), clip_spectrogram(decode(path).samples))


def test_silent_sounds_have_no_rows_and_what_is_not_used_is_said(ours, sounds, caplog):  # noqa: F811
    names = ["silent.wav", "missing.wav", "plain.wav", "text.wav"]
    tags = ours.tag([sounds / name for name in names], skip_unreadable=True)
    assert tags["file"].unique().tolist() == [str(sounds / "plain.wav")]
    said = [record.getMessage().partition(": ")[0] for record in caplog.records if record.levelname == "WARNING"]
    assert [Path(path).name for path in said] == ["silent.wav", "missing.wav", "text.wav"]
    assert ours.windows(sounds / "silent.wav", every=1).empty and ours.tag([]).empty


NOISE = np.random.default_rng(1).normal(0, 0.1, RATE)
WRONG_SOUNDS = {
    "a missing file": (("missing.wav",), "missing.wav: cannot be read: No such file"),
    "a folder": ((".",), "cannot be read: Is a directory"),
    "no rate": ((NOISE,), "samples beside their rate, found float64"),
    "two channels": ((np.stack([NOISE, NOISE]), RATE), r"found shape \(2, 44100\)"),
    "NaN": ((np.where(NOISE > 0.2, np.nan, NOISE), RATE), "samples: contains values that are not sound"),
    "no samples": ((NOISE[:0], RATE), "samples: has no samples"),
    "integers": (((NOISE * 32767).astype(np.int16), RATE), "found int16; divide integers"),
    "no such rate": ((NOISE, 0), "rate: expected 1000 to 1000000 samples per second, found 0"),
    "half a sample": ((NOISE, 44_100.5), "found 44100.5"),
    "a rate that is text": ((NOISE, "44100"), "found '44100'"),
    "the rate of a file": (("missing.wav", RATE), "rate: expected none beside a file"),
}


@pytest.mark.parametrize("kind", WRONG_SOUNDS)
def test_what_is_no_sound_is_refused(ours, kind):
    sound, message = WRONG_SOUNDS[kind]
    with pytest.raises(audiotagging.UserError, match=message):
        ours.tag(*sound)
    with pytest.raises(audiotagging.UserError, match=message.replace("float64", "ndarray")):
        ours.windows(*sound, every=1)
    if not isinstance(sound[0], str) and len(sound) == 2:
        with pytest.raises(audiotagging.UserError, match=message):
            audiotagging.spectrogram(*sound)


WRONG_CALLS = {
    "no run": (lambda: audiotagging.load("."), "expected the output of a run or its folder `models`, found no model"),
    "no folder": (lambda: audiotagging.load("missing"), "missing: expected the output of a run, found no folder"),
    "no device": (lambda: audiotagging.load("OUT", device="gpu"), "device: expected cpu, or cuda where"),
    "no such GPU": (lambda: audiotagging.load("OUT", device="cuda:99"), "device: expected cpu, or cuda where"),
    "no thread": (lambda: audiotagging.load("OUT", threads=0), "threads: expected a number of at least 1, found 0"),
    "no precision": (lambda: audiotagging.load("OUT").tag([], precision=0.85), "expected one of 0.8, 0.9, 0.95"),
    "no channel": (lambda: audiotagging.load("OUT").tag([], channel=-1), "channel: expected a number from 1"),
    "no spectrograms": (lambda: audiotagging.read_spectrograms("."), "expected a folder of spectrograms"),
    "no predictions": (lambda: audiotagging.read_predictions("."), "found no predictions.parquet in it"),
    "no scores": (
        lambda: audiotagging.read_scores("scores"),
        "expected the output of a run or its scores.json",
    ),
    "other scores": (lambda: audiotagging.read_scores("OUT/ensemble.json"), "expected the key ensemble"),
    "other shapes": (lambda: audiotagging.lwlrap([[1, 0]], [[1, 2, 3]]), r"found \(1, 2\) and \(1, 3\)"),
    "NaN": (lambda: audiotagging.lwlrap([[1, 0]], [[1, np.nan]]), "expected numbers, found NaN"),
    "no such label": (lambda: audiotagging.label_table([["x"]], ["y"]), "expected some of the 1 classes, found 'x'"),
    "six members": (lambda: audiotagging.train("demo", run="OUT", out="m"), "found the 6 of 'demo'"),
    "no such fold": (lambda: audiotagging.train("linear", run="OUT", out="m", fold=7), "curated clips in fold 7"),
    "not trained": (lambda: audiotagging.train("linear", run=".", out="m"), "found no spectrograms in it"),
    "not evaluated": (lambda: audiotagging.evaluate("."), "expected the output of a run"),
}


@pytest.mark.parametrize("kind", WRONG_CALLS)
def test_what_cannot_be_is_refused(example, kind, monkeypatch):
    monkeypatch.chdir(example)
    call, message = WRONG_CALLS[kind]
    with pytest.raises(audiotagging.UserError, match=message):
        call()


def test_a_run_is_read_as_it_was_written(example):
    run = example / "OUT"  # noqa: F811
    clips = read_clips(run / "spectrograms")
    found = audiotagging.read_spectrograms(run)
    assert found.clips["clip"].tolist() == clips["clip"].tolist() and found.classes == CLASSES
    assert np.array_equal(np.concatenate([found[row] for row in range(len(clips))]), found.frames)
    assert np.array_equal(found[-1], found[len(clips) - 1])
    table, predictions = audiotagging.read_predictions(run), read_predictions(run / "predictions.parquet")
    for (_, row), scores in zip(predictions.rows.iterrows(), predictions.scores, strict=True):
        assert table.loc[row["part"], row["member"], row["fold"], row["clip"]].tolist() == scores.tolist()
    assert len(table) == len(predictions.rows)
    scores = audiotagging.read_scores(run)
    assert scores == audiotagging.read_scores(run / "scores.json")
    written = json.loads((run / "scores.json").read_text())
    assert scores["ensemble"] == written["ensemble"]
    for row, whole in zip(scores["classes"], written["classes"], strict=True):
        assert row.items() <= whole.items() and row["label"] in CLASSES


def test_the_lwlrap_of_its_predictions_is_that_of_scikit_learn(example):
    table = audiotagging.read_predictions(example / "OUT").loc["test", "ensemble"]
    clips = audiotagging.read_spectrograms(example / "OUT", parts=["test"]).clips.set_index("clip")
    truth = audiotagging.label_table(clips.loc[table.index.get_level_values("clip"), "labels"], table.columns)
    expected = label_ranking_average_precision_score(truth, table, sample_weight=truth.sum(axis=1))
    assert audiotagging.lwlrap(truth, table) == pytest.approx(expected)
    assert audiotagging.lwlrap(truth, table) == audiotagging.read_scores(example / "OUT")["ensemble"]["all"]


def test_a_member_is_trained_as_in_the_run(example, tmp_path):
    history = audiotagging.train("linear", run=example / "OUT", out=tmp_path / "models", fold=1, seed=1)
    assert history["lwlrap"].notna().all()
    trained, before = (path / "models" / "linear-fold1" / "weights.safetensors" for path in (tmp_path, example / "OUT"))
    assert trained.read_bytes() == before.read_bytes()


def test_the_lines_of_the_readme_run(example, monkeypatch):
    monkeypatch.chdir(example)
    (example / "forest.wav").write_bytes((example / "sounds" / "rain.wav").read_bytes())
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    found = {}
    exec(block, found)
    assert found["tags"]["label"][0] == "Rain" and found["windows"]["end"].max() == 3
    assert found["scores"]["ensemble"]["all"] == 1


def test_the_reference_is_that_of_the_docstrings():
    assert (ROOT / "docs" / "api.md").read_text() == render(), "run `make api` to write it again"
