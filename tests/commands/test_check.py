import argparse
import shutil

import pytest
import soundfile
from conftest import CLASSES, write_table

from audiotagging.data.dataset import DataError, fingerprint, read_dataset
from audiotagging.data.ingest import ingest
from audiotagging.data.overview import describe, durations
from commands import check


def run(data, *options):
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    return check.run(parser.parse_args(["--data", str(data), *options]))


def test_a_good_folder_is_summarised(data, capsys):
    assert run(data) == 0
    printed = capsys.readouterr().out
    assert f"{data} can be used" in printed
    rows = {line.split()[0]: line.split()[1:] for line in printed.splitlines()[2:5]}
    assert {part: (clips, labels) for part, (clips, *_, labels) in rows.items()} == {
        "curated": ("12", "1.250"),
        "noisy": ("4", "1.000"),
        "test": ("3", "1.333"),
    }
    assert "3 classes, from 3 curated clips (Tap_running) to 6 (Bark)" in printed
    assert "note: train_curated.csv: the class 'Tap_running' has 3 clips for 5 folds" in printed


def test_hours_are_those_of_the_files(data):
    for path in (data / "test").iterdir():
        soundfile.write(path, [[0.0, 0.0]] * 16_000, 8_000)
    dataset = read_dataset(data)
    seconds = durations(dataset)
    assert list(seconds) == pytest.approx([0.1] * 16 + [2.0] * 3)
    assert describe(dataset, seconds)[3].split()[1:4] == ["3", "0.00", "2.00"]


def test_every_problem_of_a_bad_folder_is_printed(data, capsys):
    (data / "test" / "t1.wav").unlink()
    (data / "train_noisy" / "n1.wav").unlink()
    assert run(data) == 2
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"{data} cannot be used. Problems: 2"
    assert [line.split(":")[0] for line in printed[1:]] == ["train_noisy.csv line 3", "sample_submission.csv line 3"]
    assert run(data, "--noisy", "none") == 2


def test_files_that_are_no_audio_are_problems(data, capsys):
    (data / "test" / "t1.wav").write_bytes(b"")
    assert run(data) == 2
    assert "t1.wav cannot be read as audio" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"t1.wav cannot be read as audio"):
        ingest(str(data), downloads=data.parent / "downloads")
    assert run(data, "--max-rejected", "0.4") == 0  # one of three
    assert ingest(str(data), downloads=data.parent / "downloads", max_rejected=0.4)[0] == data


def test_a_fold_without_clips_cannot_be_held_out(data):
    downloads = data.parent / "downloads"
    folder, found = ingest(str(data), downloads=downloads, held_out=[-1, 0, 4])
    assert (folder, found) == (data, fingerprint(read_dataset(data)))
    with pytest.raises(DataError, match="no curated clip is in fold 5, which is to be held out"):
        ingest(str(data), downloads=downloads, held_out=[4, 5])


def test_data_without_anything_to_predict_is_refused_before_anything_is_trained(data):
    shutil.rmtree(data / "test")
    for name in ("sample_submission.csv", "test_post_competition.csv"):
        (data / name).unlink()
    with pytest.raises(DataError, match="no test clips and no fold is held out"):
        ingest(str(data), downloads=data.parent / "downloads", held_out=[-1])
    assert ingest(str(data), downloads=data.parent / "downloads", held_out=[-1, 0])[0] == data


def test_a_few_files_that_are_no_audio_are_left_out(data):
    names = [f"c{number:03}.wav" for number in range(200)]
    for name in names:
        shutil.copy(data / "test" / "t0.wav", data / "train_curated" / name)
    (data / "train_curated" / names[5]).write_bytes(b"RIFF")
    rows = [(name, CLASSES[number % 3]) for number, name in enumerate(names)]
    write_table(data / "train_curated.csv", ("fname", "labels"), *rows)
    dataset = read_dataset(data)
    assert "left out because they cannot be read: c005.wav" in describe(dataset, durations(dataset))
