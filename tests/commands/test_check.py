import argparse
import shutil

import pytest
import soundfile
from helpers.data_folder import CLASSES, write_table

from audiotagging.base.errors import UserError
from audiotagging.data.dataset import DataError, fingerprint, read_dataset
from audiotagging.data.ingest import ingest
from audiotagging.data.summary import describe, durations
from audiotagging.members import DEMO, rows
from commands import check, main


def run(data, *options):
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    return check.run(parser.parse_args(["--data", str(data), "--verify", "0", *options]))


def call(data, *, folds=(-1,), max_rejected=0.01):
    table = rows(DEMO[:1], folds)
    return ingest(str(data), rows=table, downloads=data.parent / "downloads", noisy="all", max_rejected=max_rejected)


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
    assert "note: train_curated.csv: 1 class in fewer than the 5 folds: 'Tap_running' (3 clips)" in printed


def test_classes_with_as_many_clips_each_are_summarised_in_one_number(data):
    rows = [f"c{number:02}.wav,{('Bark', 'Meow', 'Tap_running')[number % 3]}" for number in range(12)]
    (data / "train_curated.csv").write_text("\n".join(["fname,labels", *rows]))
    dataset = read_dataset(data)
    described = describe(dataset, durations(dataset, max_rejected=0.01))
    assert "3 classes, 4 curated clips each; noisy clips: all" in described


def test_hours_are_those_of_the_files(data):
    for path in (data / "test").iterdir():
        soundfile.write(path, [[0.0, 0.0]] * 16_000, 8_000)
    dataset = read_dataset(data)
    seconds = durations(dataset, max_rejected=0.01)
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
    assert "t1.wav: cannot be decoded: it is no sound file" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"t1.wav: cannot be decoded"):
        call(data)
    assert run(data, "--max-rejected", "0.4") == 0  # one of three
    assert call(data, max_rejected=0.4).folder == data


def test_a_fold_without_clips_cannot_be_held_out(data):
    found = call(data, folds=[-1, 0, 4])
    assert (found.folder, found.fingerprint) == (data, fingerprint(read_dataset(data)))
    with pytest.raises(DataError, match="no curated clip is in fold 5, which is to be held out"):
        call(data, folds=[4, 5])
    write_table(
        data / "train_curated.csv",
        ("fname", "labels", "fold"),
        *[(f"c{i:02}.wav", CLASSES[i % 3], i % 7) for i in range(12)],
    )
    assert call(data, folds=[6]).folder == data
    with pytest.raises(DataError, match="no curated clip is in fold 7"):
        call(data, folds=[7])


def test_data_without_anything_to_predict_can_be_trained_on(data, capsys):
    shutil.rmtree(data / "test")
    for name in ("sample_submission.csv", "test_post_competition.csv"):
        (data / name).unlink()
    assert call(data, folds=[-1]).folder == data
    assert run(data) == 0
    assert "nothing will be predicted or scored" in capsys.readouterr().out


def test_a_few_files_that_are_no_audio_are_left_out(data):
    names = [f"c{number:03}.wav" for number in range(200)]
    for name in names:
        shutil.copy(data / "test" / "t0.wav", data / "train_curated" / name)
    (data / "train_curated" / names[5]).write_bytes(b"RIFF")
    rows = [(name, CLASSES[number % 3]) for number, name in enumerate(names)]
    write_table(data / "train_curated.csv", ("fname", "labels"), *rows)
    dataset = read_dataset(data)
    assert "left out because they cannot be read: c005.wav" in describe(dataset, durations(dataset, max_rejected=0.01))


def test_a_run_without_rows_or_with_a_wrong_one_is_refused(data):
    options = {"downloads": data.parent / "downloads", "noisy": "all", "max_rejected": 0.01}
    (row,) = rows(DEMO[:1], [-1])
    for table, message in (([], "expected at least one row"), ([row, row | {"epochs": 0.0}], "expected epochs to be")):
        with pytest.raises(UserError, match=message):
            ingest(str(data), rows=table, **options)


@pytest.mark.parametrize("noisy", ["all", "none"])
def test_check_prints_the_fingerprint_of_a_run(data, capsys, noisy):
    table = rows(DEMO[:1], [-1])
    found = ingest(str(data), rows=table, downloads=data.parent / "downloads", noisy=noisy, max_rejected=0.01)
    assert run(data, "--noisy", noisy) == 0
    assert f"fingerprint {found.fingerprint}\n" in capsys.readouterr().out


def test_files_of_which_something_is_not_used_are_named_once(data, capsys):
    path = data / "train_curated" / "c00.wav"
    path.write_bytes(path.read_bytes()[:-2000])
    soundfile.write(data / "test" / "t0.wav", [[0.0, 0.1 * (-1) ** number] for number in range(4410)], 44_100)
    (data / "train_curated" / "._c00.wav").write_bytes(b"\0\5\x16\7")
    assert run(data) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if "c00.wav" in line or "t0.wav" in line]
    assert notes == [
        "note: train_curated/c00.wav: cut short: 0.08 of 0.10 s stated",
        "note: test/t0.wav: silent channels left out: the left one",
    ]


def test_names_cannot_control_the_terminal(data, capsys):
    name = "\x1b]0;title\x07c00.wav"
    table = data / "train_curated.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("c00.wav", name), encoding="utf-8")
    assert main(None, ["check", "--data", str(data)]) == 2
    output = capsys.readouterr().out
    assert r"\x1b]0;title\x07c00.wav" in output and output.replace("\n", "").isprintable()
