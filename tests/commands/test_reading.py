"""The options that say how a data folder is to be read, as the parameter of the pipeline."""

import argparse

import pytest
from helpers.data_folder import write_table

import pipeline
from audiotagging.data.layouts.reading import AS_FOUND, Reading
from commands import main, parameters
from commands.reading import reading_of


def parse(*options, data="x"):
    parser = argparse.ArgumentParser()
    parameters.add_parameters(parser)
    return parser.parse_args(["--data", str(data), *options])


def test_without_options_nothing_is_said():
    assert parameters.parameters(parse())["reading"] == {} and Reading.from_dict({}) == AS_FOUND


def test_options_become_a_reading(tmp_path, monkeypatch):
    options = ["--table", "a.csv", "--sounds", "wav", "--path-column", "file", "--label-column", "one", "two"]
    options += ["--negatives", "wind", "rain", "--allow-unlabelled", "--min-confidence", "0"]
    args = parse(*options, data=tmp_path)
    found = Reading.from_dict(parameters.parameters(args)["reading"])
    columns = {"path": ["file"], "labels": ["one", "two"]}
    assert found == Reading("a.csv", "wav", columns, ("wind", "rain"), allow_unlabelled=True, min_confidence=0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    assert reading_of(parse("--sounds", "elsewhere"), absolute=True) == {"sounds": str(tmp_path / "elsewhere")}


@pytest.mark.parametrize(
    ("options", "code", "printed"),
    [
        (["--label-column", "heard"], 0, "column 'heard' is used as labels"),
        (["--label-column", "herd"], 2, "--label-column: expected one of sound, heard, found 'herd'"),
        ([], 2, "none of its columns (sound, heard) is known to hold labels: name it with --label-column"),
    ],
)
def test_check_takes_the_options(sounds, capsys, options, code, printed):
    names = [f"site/{number}.wav" for number in range(6)]
    folder = sounds(*names)
    write_table(folder / "t.csv", ("sound", "heard"), *[(name, "ab"[place % 2]) for place, name in enumerate(names)])
    assert main(pipeline.PIPELINES, ["check", "--data", str(folder), *options]) == code
    assert printed in capsys.readouterr().out
