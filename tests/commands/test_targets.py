"""Every option that names a file is checked before any work: a pipe, a device or a folder is refused at once."""

import argparse
import os
from pathlib import Path

import pytest

import pipeline
from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_file, check_target, open_file
from commands import COMMANDS, OF_PIPELINES, TAGGING, TRAINING, main, module_of
from commands.folders import output_file

INPUTS = {"--corrections", "--table", "--token-file"}  # the options that name a file to read


def options_of(name, which):
    parser = argparse.ArgumentParser()
    module_of(name, which).add_arguments(parser)
    return parser._actions


def file_options():
    """Yield every command, pipeline and option that names a file."""
    for name in COMMANDS:
        for which in (TRAINING, TAGGING) if name in OF_PIPELINES else (TRAINING,):
            for action in options_of(name, which):
                if action.metavar == "FILE":
                    yield name, which, action


OUTPUTS = [each for each in file_options() if each[2].option_strings[-1] not in INPUTS]
# What each command needs beside the option.
BESIDE = {"tag": ["x.wav", "--models", "nowhere"], "compile": []}


def names(folder):
    return [path.name for path in folder.iterdir()]


def pipe(path):
    os.mkfifo(path)


def link(path):
    path.symlink_to(path.parent)


WRONG = {
    "a folder": Path.mkdir,
    "a pipe": pipe,
    "a link": link,
    "a socket": lambda path: os.mknod(path, 0o140644),
}


def test_every_option_that_names_a_file_to_write_is_checked_when_it_is_parsed():
    assert {(name, action.option_strings[-1]) for name, _, action in OUTPUTS} == {
        ("tag", "--drift"),
        ("compile", "--output"),
    }
    assert all(action.type is output_file for _, _, action in OUTPUTS)


@pytest.mark.parametrize(("name", "which", "action"), OUTPUTS)
@pytest.mark.parametrize("value", ["", ".", "..", "/", "nowhere/file.yaml", "x" * 300, *WRONG])
def test_what_is_no_file_is_refused_before_any_work(tmp_path, monkeypatch, capsys, name, which, action, value):
    monkeypatch.chdir(tmp_path)
    if make := WRONG.get(value):
        value = "file.yaml"
        make(tmp_path / value)
    monkeypatch.setattr(module_of(name, which), "run", lambda args: pytest.fail("it began to work"))
    before = names(tmp_path)
    assert main(pipeline.PIPELINES, [name, *BESIDE[name], action.option_strings[-1], value]) == 2
    assert f"argument {'/'.join(action.option_strings)}: " in capsys.readouterr().err
    assert names(tmp_path) == before


@pytest.mark.parametrize(("found", "make"), WRONG.items())
def test_nothing_but_a_regular_file_is_replaced_or_read(tmp_path, found, make):
    make(tmp_path / "file")
    with pytest.raises(UserError, match=f"file: expected a new file, or a file to replace, found {found}"):
        check_target(tmp_path / "file")
    with pytest.raises(UserError, match=found), atomic_file(tmp_path / "file"):
        pytest.fail("it began to work")
    assert names(tmp_path) == ["file"]
    with pytest.raises(OSError, match=r"Is a directory|expected a regular file, found a (pipe|socket)"):
        open_file(tmp_path / "file")


def test_a_device_is_neither_replaced_nor_read(tmp_path):
    try:
        os.mknod(tmp_path / "null", 0o020666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root can make devices")
    with pytest.raises(UserError, match="found a device"), atomic_file(tmp_path / "null"):
        pytest.fail("it began to work")
    with pytest.raises(OSError, match="found a device"):
        open_file(tmp_path / "null")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(UserError, match="found a read-only one"):
        check_target(tmp_path / "file")


def valued_options():
    """Yield every command, pipeline and option with a value, by its longest name."""
    for name in COMMANDS:
        for which in (TRAINING, TAGGING) if name in OF_PIPELINES else (TRAINING,):
            for action in options_of(name, which):
                if action.option_strings and action.nargs != 0:
                    yield name, which, action.option_strings[-1]


@pytest.mark.parametrize("name", COMMANDS)
def test_two_minus_signs_are_no_value(capsys, name):
    for _, which, option in (each for each in valued_options() if each[0] == name):
        pipeline_option = ["--pipeline", which] if which == TAGGING else []
        assert main(pipeline.PIPELINES, [name, *pipeline_option, f"{option}=--"]) == 2, option
        assert capsys.readouterr().err.startswith("error: argument "), option
