import csv
import io
import os
import tracemalloc
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers.tiny_ensemble import RATE, chirp, tag_options

from audiotagging.artifacts.calibration import logits, sigmoid
from audiotagging.base.errors import UserError
from audiotagging.sounds.audio import decode
from audiotagging.tagging.loading import load_tagger
from audiotagging.tagging.tagger import Tagger
from audiotagging.tagging.windows import Tag, count_windows, merge, score_windows, windows
from commands import main
from commands.tag import run as run_command


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """Five seconds of sound, two of silence and one of another sound."""
    path = tmp_path_factory.mktemp("long") / "long.wav"
    soundfile.write(path, np.concatenate([chirp(5), np.zeros(2 * RATE), chirp(1, seed=1)]), RATE)
    return path


STARTS = [  # seconds of sound, every, overlap, starts of the windows
    (8, 2, 0, [0, 2, 4, 6]),
    (8, 3, 0, [0, 3, 5]),
    (8, 4, 3, [0, 1, 2, 3, 4]),
    (8, 4, 1, [0, 3, 4]),
    (8, 8, 4, [0]),
    (8, 9, 0, [0]),
    (0.25, 2, 0, [0]),
    (150, 40, 0, [0, 40, 80, 110]),
    (150, 50, 10, [0, 40, 80, 100]),
    (121, 60, 0, [0, 60, 61]),
]


@pytest.mark.parametrize(("seconds", "every", "overlap", "starts"), STARTS)
@pytest.mark.parametrize("rate", [RATE, 8000])
def test_windows_follow_each_other_and_the_last_one_ends_with_the_file(seconds, every, overlap, starts, rate, tmp_path):
    soundfile.write(tmp_path / "sound.wav", chirp(seconds, rate), rate)
    whole = decode(tmp_path / "sound.wav").samples
    found = list(windows(tmp_path / "sound.wav", every=every, overlap=overlap))
    assert count_windows(tmp_path / "sound.wav", every=every, overlap=overlap) == len(starts)
    assert [start for start, _, _ in found] == pytest.approx(starts, abs=1e-3)
    assert [end for _, end, _ in found] == pytest.approx([min(start + every, seconds) for start in starts], abs=1e-3)
    for start, end, samples in found:
        np.testing.assert_allclose(samples, whole[round(start * RATE) : round(end * RATE)], atol=1e-6)


def test_windows_are_scored_as_clips_are_and_silent_ones_left_out(tagger, long, tmp_path, monkeypatch):
    monkeypatch.setattr("audiotagging.tagging.tagger.BATCH_FRAMES", 300)
    found = list(score_windows(tagger.score, long, every=1.5, overlap=0.5))
    assert [(start, end) for start, end, _ in found] == [
        (start, start + 1.5) for start in (0, 1, 2, 3, 4, 6, 6.5)
    ]  # the one from 5 to 6.5 is silent
    samples, _ = soundfile.read(long, dtype="int16")
    for start, end, scores in found:
        soundfile.write(tmp_path / "clip.wav", samples[int(start * RATE) : int(end * RATE)], RATE)
        (clip,) = tagger.tag([tmp_path / "clip.wav"])
        assert scores == pytest.approx(clip.scores, rel=1e-4)
    assert np.ptp([scores for *_, scores in found], axis=0).max() > 1e-3


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path):
    peaks = {}
    for minutes in (3, 12):
        with soundfile.SoundFile(tmp_path / "sound.wav", "w", RATE, 1) as file:
            for seed in range(minutes):
                file.write(chirp(60, seed=seed))
        tracemalloc.start()
        for _ in score_windows(lambda spectrograms: np.zeros((len(spectrograms), 3)), tmp_path / "sound.wav", every=2):
            pass
        peaks[minutes] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[12] < 1.1 * peaks[3]


def test_merged_tags_cover_what_the_tags_cover():
    random = np.random.default_rng(1)
    tags = [
        Tag(start, start + 3, label, float(random.random()))
        for start in range(0, 200, 2)
        for label in "abc"
        if random.random() < 0.4
    ]
    merged = list(merge(tags))
    assert [tag.end for tag in merged] == sorted(tag.end for tag in merged)
    for label in "abc":
        covered = {second for tag in tags if tag.label == label for second in range(tag.start, tag.end)}
        runs = [tag for tag in merged if tag.label == label]
        assert sorted(second for tag in runs for second in range(tag.start, tag.end)) == sorted(covered)
        assert all(one.end < other.start for one, other in pairwise(runs))
        for run in runs:
            scores = [tag.score for tag in tags if tag.label == label and run.start <= tag.start < run.end]
            assert run.score == max(scores)


def test_a_long_file_shows_its_progress(run, long, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("audiotagging.base.progress.LOG_SECONDS", 0)
    caplog.set_level("INFO")
    arguments = tag_options(files=[long], models=run, every=2.0, overlap=1.0, format="csv", out=tmp_path / "out")
    assert run_command(arguments) == 0
    shown = [record.getMessage().partition(", ")[0] for record in caplog.records]
    assert shown == [*(f"long.wav: {done} of 7" for done in range(1, 8)), "tag: 1 of 1"]


def best(tagger, path, *, every, top):
    """Return the rows that the command should print, from the scores of the windows."""
    rows = []
    for start, end, scores in score_windows(tagger.score, path, every=every):
        order = np.argsort(-scores)[:top]
        rows += [(str(path), start, end, tagger.classes[n], pytest.approx(float(scores[n]), rel=1e-4)) for n in order]
    return rows


def read(text):
    """Return the rows of a CSV table."""
    return [
        (row["file"], float(row["start"]), float(row["end"]), row["label"], float(row["score"]))
        for row in csv.DictReader(io.StringIO(text))
    ]


def test_the_command_prints_the_best_tags_of_every_window(run, tagger, long, sounds, capsys):
    files = [long, sounds / "text.wav", sounds / "short.flac"]
    assert run_command(tag_options(files=files, models=run, every=2.0, top=2, format="csv")) == 1
    printed = capsys.readouterr()
    assert read(printed.out) == [
        row for path in (long, sounds / "short.flac") for row in best(tagger, path, every=2, top=2)
    ]
    assert printed.err.startswith(f"{sounds / 'text.wav'}: cannot be decoded")


def test_the_command_merges_neighbours(run, tagger, long, capsys):
    assert run_command(tag_options(files=[long], models=run, every=1.0, top=6, format="csv", merge=True)) == 0
    found = read(capsys.readouterr().out)
    assert sorted((start, end, label) for _, start, end, label, _ in found) == sorted(
        (start, end, label) for label in tagger.classes for start, end in ((0, 5), (7, 8))
    )


def test_with_a_precision_only_windows_that_reach_the_threshold_are_listed(calibrated, tagger, long, capsys):
    averaging = load_tagger(calibrated[0]).averaging
    lowest = averaging.lowest_scores(0.9)
    arguments = tag_options(files=[long], models=calibrated[0], every=1.0, top=6, format="csv", precision=0.9)
    assert run_command(arguments) == 0
    found = {(start, label): score for _, start, _, label, score in read(capsys.readouterr().out)}
    expected = {
        (start, label): pytest.approx(float(sigmoid(logits(score) - np.log(2))), rel=1e-4)
        for start, _, scores in score_windows(tagger.score, long, every=1)
        for label, score in zip(tagger.classes, scores, strict=True)
        if score >= lowest.get(label, np.inf)
    }
    assert found == expected and 0 < len(found) < 36


@pytest.fixture
def folder(sounds, long, tmp_path):
    """A folder with two sounds, one of them in a subfolder."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "long.wav").write_bytes(long.read_bytes())
    (folder / "sub" / "short.flac").write_bytes((sounds / "short.flac").read_bytes())
    return folder


def contents(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def into(out, folder, run, **given):
    return tag_options(**{"files": [folder], "models": run, "out": out, "every": 2.0, "format": "csv"} | given)


def test_an_interrupted_command_resumes_with_the_next_file(run, folder, tmp_path, monkeypatch):
    assert run_command(into(tmp_path / "whole", folder, run)) == 0
    assert set(contents(tmp_path / "whole")) == {"settings.json", "long.wav.csv", "sub/short.flac.csv"}

    score, calls = Tagger.score, []

    def interrupted(self, spectrograms):
        calls.append(len(spectrograms))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return score(self, spectrograms)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(Tagger, "score", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_command(into(out, folder, run))
        assert set(contents(out)) == {"settings.json", "long.wav.csv"}
        assert run_command(into(out, folder, run)) == 0
        assert calls == [4, 1, 1]
        assert contents(out) == contents(tmp_path / "whole")
        assert run_command(into(out, folder, run)) == 0
        assert len(calls) == 3
        for place, changed in enumerate((2**60, 5), 1):  # a sound that is newer, and an older one in its place
            os.utime(folder / "long.wav", ns=(changed, changed))
            for _ in range(2):
                assert run_command(into(out, folder, run)) == 0
                assert calls == [4, 1, 1] + [4] * place


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"every": 1.0}, "--every 2.0"),
        ({"overlap": 0.5}, "--overlap 0.0"),
        ({"merge": True}, "--merge False"),
        ({"top": 1}, "--top 5"),
        ({"precision": 0.9}, "--precision None"),
        ({"format": "json"}, "--format csv"),
        ({"models": "run"}, "other models"),
    ],
)
def test_results_of_other_options_are_not_mixed(calibrated, run, folder, tmp_path, changes, found):
    assert run_command(into(tmp_path / "out", folder, calibrated[0])) == 0
    before = contents(tmp_path / "out")
    if "models" in changes:
        changes = {"models": run}
    arguments = into(tmp_path / "out", folder, calibrated[0], **changes)
    with pytest.raises(UserError, match=f"expected results of the same models and options, found {found} in"):
        run_command(arguments)
    assert contents(tmp_path / "out") == before


def test_a_folder_of_something_else_is_refused(run, folder):
    with pytest.raises(UserError, match=r"without settings.json; name another"):
        run_command(into(folder, folder, run))
    with pytest.raises(UserError, match=r"without settings.json; name another"):
        run_command(into(folder / "long.wav", folder, run))
    assert set(contents(folder)) == {"long.wav", "sub/short.flac"}


def test_sounds_with_the_same_name_are_refused(run, folder, tmp_path):
    twice = into(tmp_path / "out", folder, run, files=[folder, folder / "sub" / "short.flac"])
    assert run_command(twice) == 0
    assert len(contents(tmp_path / "out")) == 3
    arguments = into(tmp_path / "other", folder, run, files=[folder / "sub", tmp_path / "short.flac"])
    with pytest.raises(UserError, match=r"found .*sub/short.flac and .*short.flac; tag them with different --out"):
        run_command(arguments)
    assert not (tmp_path / "other").exists()


def test_a_sound_that_ends_in_an_error_has_no_result(run, folder, tmp_path, capsys):
    samples = chirp(130)
    samples[125 * RATE] = np.nan  # found after the first windows have been scored
    soundfile.write(folder / "broken.wav", samples, RATE, subtype="FLOAT")
    assert run_command(into(tmp_path / "out", folder, run)) == 1
    assert set(contents(tmp_path / "out")) == {"settings.json", "long.wav.csv", "sub/short.flac.csv"}
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{folder / 'broken.wav'}: contains values that are not sound")


def test_a_sound_whose_result_cannot_be_named_does_not_stop_the_others(run, folder, tmp_path, capsys):
    long = folder / f"a{'x' * 245}.flac"
    long.write_bytes((folder / "sub" / "short.flac").read_bytes())
    assert run_command(into(tmp_path / "out", folder, run)) == 1
    assert set(contents(tmp_path / "out")) == {"settings.json", "long.wav.csv", "sub/short.flac.csv"}
    assert capsys.readouterr().err == f"{long}: has too long a name for a file of its tags; tag it without --out\n"


def test_other_errors_of_the_file_system_end_the_command(run, folder, tmp_path):
    (tmp_path / "out").mkdir()
    assert run_command(into(tmp_path / "out", folder / "long.wav", run)) == 0
    (tmp_path / "out" / "sub").write_text("not a folder")
    with pytest.raises(FileExistsError):
        run_command(into(tmp_path / "out", folder, run))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--overlap", "1"], "--overlap: expected --every SECONDS"),
        (["--merge"], "--merge: expected --every SECONDS"),
        (["--out", "out"], "--out: expected --every SECONDS"),
        (["--format", "raven"], "--format raven: expected --every SECONDS"),
        (["--every", "0"], "--every: expected 0.1 to 60 seconds, found 0"),
        (["--every", "nan"], "--every: expected 0.1 to 60 seconds, found nan"),
        (["--every", "61"], "--every: expected 0.1 to 60 seconds, found 61"),
        (["--every", "2", "--overlap", "2"], "--overlap: expected 0 to 1.8 seconds for windows of 2 seconds, found 2"),
        (["--every", "2", "--overlap=-1"], "--overlap: expected 0 to 1.8 seconds for windows of 2 seconds, found -1"),
        (["--every", "2", "--format", "parquet"], "--format parquet: expected --out DIR"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments, message, capsys):
    assert main(None, ["tag", "a.wav", "--models", "out", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["table", "csv", "json", "parquet", "audacity", "raven"])
def test_every_format_is_written_by_the_command(run, tagger, folder, tmp_path, kind):
    assert run_command(into(tmp_path / "out", folder, run, top=1, format=kind)) == 0
    (path,) = (tmp_path / "out").glob("long.wav.*")
    first = tagger.classes[int(np.argmax(next(score_windows(tagger.score, folder / "long.wav", every=2))[2]))]
    text = str(pd.read_parquet(path)["label"][0]) if kind == "parquet" else path.read_text()
    assert first in text
