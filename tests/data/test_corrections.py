import csv
import shutil

import pytest
import soundfile
from helpers.data_folder import write_table

import pipeline
from audiotagging.data.dataset import DataError, fingerprint, read_dataset
from commands import main
from commands.parameters import absolute_paths

ODD = 'Dög, "bark"; 🐶 =1+1.wav'


@pytest.fixture
def odd(data):
    """The data folder with a clip that has an odd name."""
    shutil.copy(data / "train_curated" / "c00.wav", data / "train_curated" / ODD)
    with (data / "train_curated.csv").open("a", newline="") as table:
        csv.writer(table).writerow([ODD, "Bark"])
    return data


def labels_of(dataset):
    curated = dataset.clips[dataset.clips["part"] == "curated"]
    return dict(zip(curated["clip"], curated["labels"], strict=True))


def test_labels_are_replaced_and_clips_without_labels_are_left_out(odd):
    before = labels_of(read_dataset(odd))
    write_table(odd / "first.csv", ("fname", "labels"), (ODD, "Meow,Tap_running"), ("c01.wav", ""), ("c02.wav", "Bark"))
    write_table(odd / "second.csv", ("fname", "labels"), ("c02.wav", "Meow"))
    dataset = read_dataset(odd, corrections=["first.csv", str(odd / "second.csv")])
    expected = before | {ODD: ["Meow", "Tap_running"], "c02.wav": ["Meow"]}
    del expected["c01.wav"]
    assert labels_of(dataset) == expected
    assert "train_curated.csv: 2 clips with corrected labels, 1 left out" in dataset.notes
    assert not any("not listed" in note for note in dataset.notes)  # c01.wav is listed


@pytest.mark.parametrize("absolute", [True, False])
def test_a_table_of_corrections_is_not_counted_as_a_file_of_another_kind(tmp_path, absolute):
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for number in range(3):
            soundfile.write(tmp_path / label / f"{number}.wav", [0.5, -0.5] * 2000, 8000)
    write_table(tmp_path / "checked.csv", ("fname", "labels"), ("cat/0.wav", "dog"))
    (tmp_path / "notes.md").touch()
    dataset = read_dataset(tmp_path, corrections=[str(tmp_path / "checked.csv") if absolute else "checked.csv"])
    assert labels_of(dataset)["cat/0.wav"] == ["dog"]
    assert [note for note in dataset.notes if "of other kinds" in note] == ["1 file of other kinds, left out: notes.md"]


def test_the_fingerprint_depends_on_the_labels_alone(data, tmp_path):
    before = fingerprint(read_dataset(data))
    unchanged = dict(labels_of(read_dataset(data)))
    write_table(data / "same.csv", ("fname", "labels"), *[(clip, ",".join(found)) for clip, found in unchanged.items()])
    assert fingerprint(read_dataset(data, corrections=["same.csv"])) == before
    found = []
    for name, labels in (("a.csv", "Tap_running"), ("b.csv", "Tap_running"), ("c.csv", "")):
        write_table(tmp_path / name, ("fname", "labels"), ("c00.wav", labels))
        found.append(fingerprint(read_dataset(data, corrections=[str(tmp_path / name)])))
    assert found[0] == found[1] and len({before, *found}) == 3


def test_a_correction_can_repair_a_label_that_is_no_class(data):
    text = (data / "train_curated.csv").read_text()
    (data / "train_curated.csv").write_text(text.replace("c11.wav,Tap_running", "c11.wav,Tap_runing"))
    with pytest.raises(DataError, match="'Tap_runing' is not a class"):
        read_dataset(data)
    write_table(data / "corrections.csv", ("fname", "labels"), ("c11.wav", "Tap_running"))
    assert labels_of(read_dataset(data, corrections=["corrections.csv"]))["c11.wav"] == ["Tap_running"]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("fname,labels\nc01.wav,Bark\nc99.wav,Bark\n", "corrections.csv line 3: 'c99.wav' is not a curated clip"),
        ("fname,labels\nn1.wav,Bark\n", "corrections.csv line 2: 'n1.wav' is not a curated clip"),
        ("fname,labels\nc01.wav,Growl\n", "corrections.csv line 2: 'Growl' is not a class of sample_submission.csv"),
        ("fname,labels\nc01.wav,\nc01.wav,Bark\n", "corrections.csv line 3: c01.wav is listed already in line 2"),
        ("fname,labels\nc01.wav,Bark,Meow\n", "corrections.csv line 2: expected 2 fields, found 3"),
        ("clip,labels\nc01.wav,Bark\n", "corrections.csv has no column 'fname'"),
        (None, "corrections.csv: expected a table of corrections, found no such file"),
    ],
)
def test_mistakes_in_a_table_are_told_with_their_lines(data, capsys, table, problem):
    if table is not None:
        (data / "corrections.csv").write_text(table)
    arguments = ["check", "--verify", "0", "--data", str(data), "--corrections", "corrections.csv"]
    assert main(pipeline.PIPELINES, arguments) == 2
    assert problem in capsys.readouterr().out


def test_check_takes_tables_here_and_in_the_data_folder(data, tmp_path, monkeypatch, capsys):
    write_table(tmp_path / "one.csv", ("fname", "labels"), ("c00.wav", "Meow"))
    write_table(data / "two.csv", ("fname", "labels"), ("c01.wav", ""))
    monkeypatch.chdir(tmp_path)
    assert absolute_paths(["one.csv", "two.csv"]) == [str(tmp_path / "one.csv"), "two.csv"]
    arguments = ["check", "--verify", "0", "--data", str(data), "--corrections", "one.csv", "--corrections", "two.csv"]
    assert main(pipeline.PIPELINES, arguments) == 0
    assert "1 clip with corrected labels, 1 left out" in capsys.readouterr().out
