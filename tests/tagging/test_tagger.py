import csv
import errno
import io
import json
import os
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from helpers.fabricated import PLAIN, models_of
from helpers.tiny_ensemble import RATE, READABLE, chirp, tag_options

from audiotagging.artifacts.selection import write_selection
from audiotagging.artifacts.spectrogram_shards import ShardWriter
from audiotagging.base.errors import UserError
from audiotagging.ensemble.ensembling import ensemble
from audiotagging.sounds.acoustics import measure
from audiotagging.sounds.audio import decode, trim
from audiotagging.sounds.spectrogram import clip_spectrogram
from audiotagging.tagging.loading import load_tagger
from audiotagging.training.prediction import predict
from commands import main
from commands.tag import run as run_command


@pytest.fixture(scope="module")
def predicted(run, sounds, tmp_path_factory):
    """What the pipeline makes of the same sounds: spectrograms and a prediction table a model."""
    folder = tmp_path_factory.mktemp("predicted")
    classes = load_tagger(run).classes
    with ShardWriter(folder / "spectrograms", classes=classes) as writer:
        for place, name in enumerate(READABLE):
            part, labels, fold = ("test", [], -1) if place % 2 else ("curated", classes[:1], place // 2 % 2)
            picture = clip_spectrogram(decode(sounds / name).samples)
            writer.add(clip=name, part=part, labels=labels, fold=fold, usage="", seconds=2.0, spectrogram=picture)
    curated = [name for place, name in enumerate(READABLE) if place % 2 == 0]
    folds = {name: number % 2 for number, name in enumerate(curated)}
    write_selection(folder, folds=folds, noisy_clips=pd.DataFrame({"fname": []}))
    for model in models_of(run):
        predict(model, spectrograms=folder / "spectrograms", selection=folder, out=folder / f"{model.name}.parquet")
    return folder


@pytest.mark.parametrize("settings", [{}, {"mean": "geometric", "weights": "fitted"}])
def test_tags_are_what_the_pipeline_submits(run, sounds, predicted, settings, tmp_path):
    tables = sorted(predicted.glob("*.parquet"))
    ensemble(tables, spectrograms=predicted / "spectrograms", out=tmp_path / "out", **PLAIN | settings)
    (tmp_path / "out" / "models").symlink_to(run / "models")
    submission = pd.read_csv(tmp_path / "out" / "submission.csv").set_index("fname")
    paths = [sounds / name for name in submission.index]
    for file in load_tagger(tmp_path / "out").tag(paths):
        assert file.scores == pytest.approx(submission.loc[file.path.name].to_numpy(), rel=1e-4), file.path


def test_batches_do_not_change_the_scores(tagger, sounds, monkeypatch):
    paths = [sounds / name for name in READABLE]
    together = [file.scores for file in tagger.tag(paths)]
    monkeypatch.setattr("audiotagging.tagging.tagger.BATCH_FRAMES", 1)
    alone = [file.scores for file in tagger.tag(paths)]
    assert np.array(together) == pytest.approx(np.array(alone), rel=1e-4)


def test_a_file_is_measured_and_every_member_scores_it(tagger, sounds):
    for file in tagger.tag([sounds / name for name in READABLE]):
        assert file.acoustics == pytest.approx(measure(trim(decode(file.path).samples)), rel=1e-4)
        weights = [tagger.averaging.weights[member] for member in tagger.networks.members]
        assert weights @ file.member_scores == pytest.approx(file.scores, rel=1e-5)


@pytest.mark.slow
def test_an_hour_is_tagged_by_its_best_minute_at_bounded_memory(tagger, tmp_path, monkeypatch):
    def cheap(model, frames, offsets, **_):
        """Stands in for a network, which has no part in this: the mean level of six groups of mels."""
        means = np.add.reduceat(frames.astype(np.float32), offsets[:-1]) / np.diff(offsets)[:, None]
        return means[:, :126].reshape(len(means), 6, 21).mean(axis=2) / 255

    monkeypatch.setattr("audiotagging.tagging.torch_networks.score_clips", cheap)
    rate = 8000
    minutes = [chirp(60, rate, seed=seed) for seed in range(3)]
    with soundfile.SoundFile(tmp_path / "hour.wav", "w", rate, 1) as file:
        for minute in range(60):
            file.write(minutes[min(minute, 2)])
    tracemalloc.start()
    (hour,) = tagger.tag([tmp_path / "hour.wav"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6  # its samples alone are 635 MB at 44 100 Hz
    for number, minute in enumerate(minutes):
        soundfile.write(tmp_path / f"{number}.wav", minute, rate)
    parts = [file.scores for file in tagger.tag(tmp_path / f"{number}.wav" for number in range(3))]
    assert hour.scores == pytest.approx(np.max(parts, axis=0), abs=1e-3)  # the resampler sees past a minute's end


def test_silent_minutes_do_not_count(tagger, tmp_path):
    for name, silence in (("with", RATE * 120), ("without", 0)):
        soundfile.write(tmp_path / f"{name}.wav", np.concatenate([chirp(60), np.zeros(silence)]), RATE)
    first, second = tagger.tag([tmp_path / "with.wav", tmp_path / "without.wav"])
    assert first.scores == pytest.approx(second.scores, rel=1e-4)


def test_files_that_cannot_be_read_have_a_reason_and_do_not_stop_the_others(tagger, sounds):
    names = ["text.wav", "plain.wav", "empty.wav", "missing.wav", "short.flac"]
    files = list(tagger.tag([sounds / name for name in names]))
    assert [file.path.name for file in files] == names
    assert [file.scores is None for file in files] == [True, False, True, True, False]
    assert [bool(file.reason) for file in files] == [True, False, True, True, False]


@pytest.mark.parametrize("kind", ["table", "csv", "json"])
def test_the_command_prints_the_best_tags_and_names_what_it_cannot_read(run, sounds, kind, capsys, tagger):
    arguments = tag_options(files=[sounds], models=run, top=2, format=kind)
    assert run_command(arguments) == 1
    printed = capsys.readouterr()
    assert sorted(line.split(":")[0] for line in printed.err.splitlines()) == [
        str(sounds / "empty.wav"),
        str(sounds / "silent.wav"),
        str(sounds / "text.wav"),
    ]
    assert f"{sounds / 'silent.wav'}: silent: it has no tags\n" in printed.err
    expected = {
        str(file.path): [tagger.classes[number] for number in np.argsort(-file.scores)[: 0 if file.silent else 2]]
        for file in tagger.tag(sorted(sounds / name for name in READABLE))
    }
    if kind == "json":
        found = {row["file"]: [tag["label"] for tag in row["tags"]] for row in json.loads(printed.out)}
    elif kind == "csv":
        found = {}
        for row in csv.DictReader(io.StringIO(printed.out)):
            found.setdefault(row["file"], []).append(row["label"])
    else:
        found, path = {}, ""
        for line in printed.out.splitlines():
            if line.startswith(" "):
                found[path].append(line.split(maxsplit=1)[1])
            elif line:
                path = line
                found[path] = []
    if kind == "csv":
        del expected[str(sounds / "silent.wav")]  # a file without tags has no rows
    assert found == expected


@pytest.fixture
def odd(sounds, tmp_path):
    """A folder of files that are not sounds, or have odd names, and what is said of them."""
    folder = tmp_path / "odd"
    (folder / "closed").mkdir(parents=True)
    (folder / "in a circle").symlink_to(folder)
    sound = (sounds / "short.flac").read_bytes()
    for name in (b"\xff\xfe.flac", b"two\nlines \x1b[31m.flac", "grün.flac".encode()):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(sound)
    os.mkfifo(folder / "pipe.wav")
    (folder / "zero.wav").symlink_to("/dev/zero")
    (folder / "circle.wav").symlink_to("circle.wav")
    (folder / "gone.wav").symlink_to("nowhere.wav")
    return folder


READ = {
    "table": ["grün.flac", r"two\nlines \x1b[31m.flac", r"\xff\xfe.flac"],
    "csv": ["grün.flac", "two\nlines \x1b[31m.flac", r"\xff\xfe.flac"],
    "json": ["grün.flac", "two\nlines \x1b[31m.flac", r"\xff\xfe.flac"],
}


@pytest.mark.parametrize("kind", READ)
def test_odd_files_and_names_stand_alone(run, odd, kind, capfdbinary, monkeypatch):
    monkeypatch.setattr(sys, "stdout", os.fdopen(os.dup(1), "w", encoding="utf-8", newline=""))
    long = odd / ("x" * 300)
    assert run_command(tag_options(files=[odd, long, odd / "closed"], models=run, top=1, format=kind)) == 1
    sys.stdout.flush()
    printed = capfdbinary.readouterr()
    output = printed.out.decode()
    if kind == "json":
        names = [row["file"] for row in json.loads(output)]
    elif kind == "csv":
        names = [row["file"] for row in csv.DictReader(io.StringIO(output, newline=""))]
    else:
        names = [line for line in output.splitlines() if not line.startswith(" ")]
    assert names == [f"{odd}/{name}" for name in READ[kind]]
    assert sorted(printed.err.decode().splitlines()) == sorted(
        [
            f"{odd}/circle.wav: cannot be read: Too many levels of symbolic links",
            f"{odd}/closed: has no sound files",
            f"{odd}/gone.wav: cannot be read: No such file or directory",
            f"{odd}/pipe.wav: cannot be read: expected a regular file, found a pipe",
            f"{odd}/zero.wav: cannot be read: expected a regular file, found a device",
            f"{long}: cannot be read: File name too long",
        ]
    )


def test_a_folder_that_cannot_be_read_is_reported(run, sounds, tmp_path, capsys, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "sound.flac").write_bytes((sounds / "short.flac").read_bytes())
    scandir = os.scandir

    def closed(path):  # root may read any folder
        if os.fspath(path).endswith("closed"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert run_command(tag_options(files=[tmp_path], models=run, top=1, format="json")) == 1
    printed = capsys.readouterr()
    assert printed.err == f"{tmp_path}/closed: cannot be read: Permission denied\n"
    assert [row["file"] for row in json.loads(printed.out)] == [f"{tmp_path}/sound.flac"]


def test_a_file_that_vanishes_is_reported(tagger, sounds, tmp_path):
    path = tmp_path / "sound.flac"
    path.write_bytes((sounds / "short.flac").read_bytes())

    def paths():
        yield sounds / "plain.wav"
        path.unlink()
        yield path

    assert [file.reason for file in tagger.tag(paths())] == ["", "cannot be read: No such file or directory"]


@pytest.mark.parametrize("every", [None, 1.0])
def test_what_was_not_used_of_a_file_is_printed_once_and_its_tags_are_those_of_the_rest(
    run, sounds, every, capsys, tmp_path
):
    content = (sounds / "plain.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(content[: 44 + 4 * RATE])
    soundfile.write(tmp_path / "rest.wav", soundfile.read(sounds / "plain.wav", 2 * RATE)[0], RATE)
    printed = []
    for name in ("cut.wav", "rest.wav"):
        assert run_command(tag_options(files=[tmp_path / name], models=run, format="csv", every=every)) == 0
        printed.append(capsys.readouterr())
    assert printed[0].out.replace("cut.wav", "rest.wav") == printed[1].out
    assert printed[0].err == f"{tmp_path}/cut.wav: cut short: 2.00 of 3.00 s stated\n" and printed[1].err == ""


def test_a_channel_can_be_chosen(run, sounds, tagger, capsys, tmp_path):
    left, path = soundfile.read(sounds / "plain.wav")[0], tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([left, -left], axis=1), RATE)
    arguments = ["tag", str(path), "--models", str(run), "--format", "json", "--channel"]
    for channel, lines in (("1", 0), ("mix", 1)):
        assert main(None, [*arguments, channel]) == 0
        printed = capsys.readouterr()
        assert len(printed.err.splitlines()) == lines  # of the mean, that it is silent
        assert len(json.loads(printed.out)[0]["tags"]) == (0 if lines else 5)
    assert main(None, [*arguments, "3"]) == 1
    assert capsys.readouterr().err == f"{path}: expected a channel 3, found 2 channels\n"
    assert main(None, [*arguments, "0"]) == 2
    assert "expected a number from 1 on, or mix, found '0'" in capsys.readouterr().err


def test_a_folder_is_searched_for_the_files_that_check_sees(run, sounds, capsys, tmp_path):
    (tmp_path / ".trash").mkdir()
    for name in ("._a.wav", ".trash/a.wav", "a.WAVE", "b.m4a", "notes.txt"):
        (tmp_path / name).write_bytes((sounds / "plain.wav").read_bytes())
    assert run_command(tag_options(files=[tmp_path], models=run, format="json")) == 0
    assert [Path(row["file"]).name for row in json.loads(capsys.readouterr().out)] == ["a.WAVE", "b.m4a"]


def test_all_is_well_that_can_be_read(run, sounds, capsys):
    assert run_command(tag_options(files=[sounds / "plain.wav"], models=run, top=1, format="table")) == 0
    assert capsys.readouterr().err == ""


def test_tagging_uses_the_threads_that_this_process_may_have(run, sounds, monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", str(before + 1))
    try:
        run_command(tag_options(models=run, files=[sounds / "short.flac"], top=5, format="table"))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_a_folder_without_sounds_is_reported(run, tmp_path, capsys):
    assert run_command(tag_options(files=[tmp_path], models=run, top=1, format="json")) == 1
    printed = capsys.readouterr()
    assert printed.err == f"{tmp_path}: has no sound files\n"
    assert json.loads(printed.out) == []


def test_a_folder_without_models_is_refused(tmp_path):
    with pytest.raises(UserError, match="expected the output of a run"):
        load_tagger(tmp_path)


def test_models_that_are_not_those_that_were_averaged_are_refused(run, predicted, tmp_path):
    tables = sorted(predicted.glob("*.parquet"))[:2]  # of the first member alone
    ensemble(tables, spectrograms=predicted / "spectrograms", out=tmp_path / "out", **PLAIN)
    (tmp_path / "out" / "models").symlink_to(run / "models")
    with pytest.raises(UserError, match=r"expected models of .*, which .*ensemble.json averages, found models of"):
        load_tagger(tmp_path / "out")


def tagged(capsys, models, files, **options):
    """Run the command, and return the tags of every file and what it printed to the error output."""
    defaults = {"format": "json", "precision": 0.9}
    assert run_command(tag_options(files=files, models=models, **defaults | options)) == 0
    printed = capsys.readouterr()
    rows = json.loads(printed.out)
    return {row["file"]: [(tag["label"], tag["score"]) for tag in row["tags"]] for row in rows}, printed.err


def test_only_what_a_precision_is_promised_for_is_printed_with_calibrated_scores(calibrated, sounds, capsys, tagger):
    out, expected = calibrated
    found, error = tagged(capsys, out, [sounds / name for name in READABLE])
    assert found.keys() == expected.keys()
    assert 0 < sum(map(len, found.values())) < 5 * len(READABLE)
    for path, tags in found.items():
        assert [label for label, _ in tags] == [label for label, _ in expected[path]]
        assert [score for _, score in tags] == pytest.approx([score for _, score in expected[path]], rel=1e-4)
    line, silent = error.splitlines()
    assert silent == f"{sounds / 'silent.wav'}: silent: it has no tags"
    assert line == (
        f"no threshold promises a precision of 0.9 for 1 of 6 classes, which are never printed: {tagger.classes[0]}"
    )
    few, _ = tagged(capsys, out, [sounds / name for name in READABLE], top=1)
    assert few == {path: tags[:1] for path, tags in found.items()}


def test_a_precision_that_is_promised_for_no_class_prints_no_tags(calibrated, sounds, capsys):
    found, error = tagged(capsys, calibrated[0], [sounds / "plain.wav"], precision=0.95)
    assert found == {str(sounds / "plain.wav"): []}
    assert "for 6 of 6 classes" in error


def test_a_calibration_changes_nothing_unless_a_precision_is_asked_for(calibrated, run, sounds, capsys):
    plain, error = tagged(capsys, run, [sounds / "plain.wav"], precision=None)
    assert tagged(capsys, calibrated[0], [sounds / "plain.wav"], precision=None) == (plain, error) and error == ""


def test_a_precision_of_uncalibrated_scores_is_refused(run, sounds):
    with pytest.raises(UserError, match=r"precision: expected an ensemble with calibrated scores, found .*--folds"):
        run_command(tag_options(files=[sounds], models=run, top=5, format="json", precision=0.9))


def test_a_precision_that_is_never_promised_is_refused(capsys):
    assert main(None, ["tag", "a.wav", "--models", "out", "--precision", "0.7"]) == 2
    assert "choose from 0.8, 0.9, 0.95" in capsys.readouterr().err


def test_more_tags_than_classes_are_all_tags(run, sounds, capsys):
    printed = []
    for top in (6, 10**30):
        arguments = ["tag", sounds / "plain.wav", "--models", run, "--format", "csv", "--top", top]
        assert main(None, list(map(str, arguments))) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] and printed[0].count("\n") == 1 + 6


def test_a_file_in_place_of_models_is_named(sounds, capsys):
    file = sounds / "plain.wav"
    assert main(None, ["tag", str(file), "--models", str(file)]) == 2
    assert f"{file}: expected the output of a run, found no folder there" in capsys.readouterr().err
