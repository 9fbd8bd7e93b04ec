import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import pipeline
from audiotagging.demo import write_dataset
from audiotagging.members import DEMO, RANGES, REFERENCE, SETTABLE
from commands import COMMANDS, PROGRAM, VERSION, main, parse


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "demo"
    write_dataset(folder, curated=39, noisy=13, test=13)
    return folder


def call(capsys, *arguments):
    """Return the exit code, the output and the error output of a command."""
    try:
        code = main(pipeline.PIPELINES, [str(argument) for argument in arguments])
    except SystemExit as exit:
        code = exit.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(capsys, command):
    code, output, _ = call(capsys, command, "--help")
    assert code == 0 and f"usage: audiotagging {command}" in output


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_fits_a_terminal_and_sorts_options_into_groups(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    _, output, _ = call(capsys, command, "--help")
    assert max(map(len, output.splitlines())) <= 80
    ungrouped = re.findall(
        r"^  (--[\w-]+)", re.search(r"^options:\n((?:  .*\n)*)", output, re.MULTILINE)[1], re.MULTILINE
    )
    assert len(ungrouped) <= 2


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_the_help_can_be_typed(capsys, command):
    _, output, _ = call(capsys, command, "--help")
    examples = output.partition("\nexamples:\n")[2].splitlines()
    assert examples
    for example in examples:
        program, name, *arguments = shlex.split(example.partition(">")[0])
        assert program == PROGRAM
        parse(name, arguments)


def test_without_a_command_the_help_lists_all_of_them(capsys):
    code, output, help = call(capsys)
    assert (code, output) == (2, "") and all(f"\n  {command} " in help for command in COMMANDS)
    assert call(capsys, "--help") == (0, help, "")


def test_the_version_is_that_of_the_package(capsys):
    assert call(capsys, "--version") == (0, f"audiotagging {VERSION}\n", "")


def test_members_prints_every_member_and_explains_every_field(capsys):
    code, output, _ = call(capsys, "members")
    tables, _, explanations = output.partition("--set FIELD=VALUE")
    assert code == 0
    for member in [*REFERENCE, *DEMO]:
        (row,) = re.findall(rf"^ +{member.id} .*", tables, re.MULTILINE)
        assert {member.network, member.loss, str(member.epochs), str(member.cycles), str(member.lr)} <= set(row.split())
    for name in SETTABLE:
        (limits, meaning) = re.search(rf"^{name}\b(.*)\n  (.+)", explanations, re.MULTILINE).groups()
        assert len(meaning) > 20 and meaning[0].isupper()
        assert name not in RANGES or f": {RANGES[name][0]:,g} to {RANGES[name][1]:,g}" in limits
    assert "(default: 128)" in re.search(r"^frames\b.*", explanations, re.MULTILINE)[0]


def test_the_shell_completes_commands_options_and_folders(capsys, tmp_path):
    code, script, _ = call(capsys, "completion", "bash")
    assert code == 0
    (tmp_path / "script").write_text(script)
    for words, expected in [
        (["audiotagging", "comp"], {"compare", "compile", "completion"}),
        (["audiotagging", "run", "--max"], {"--max-rejected"}),
        (["audiotagging", "run", "--mean", ""], {"arithmetic", "geometric", "rank"}),
    ]:
        line = f"COMP_WORDS=({shlex.join(words)}) COMP_CWORD={len(words) - 1}; _shtab_audiotagging"
        command = ["bash", "-c", f"complete() {{ :; }}; . {tmp_path / 'script'}; {line}; echo ${{COMPREPLY[@]}}"]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert set(found.split()) == expected


def test_a_pipeline_run_in_a_process_of_its_own_knows_no_other_command(capsys):
    code, _, error = call(capsys, "walk")
    assert code == 2 and "invalid choice: 'walk'" in error


def break_nothing_there(folder):
    return folder / "absent"


def break_labels_column(folder):
    table = folder / "train_curated.csv"
    table.write_text(table.read_text().replace("fname,labels", "fname,tags", 1))
    return folder


def break_test_part(folder):
    for path in (folder / "test").iterdir():
        path.unlink()
    return folder


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (break_nothing_there, ["absent"]),
        (break_labels_column, ["train_curated.csv", "labels"]),
        (break_test_part, ["test"]),
    ],
)
def test_wrong_data_ends_in_one_line_and_leaves_nothing(capsys, tmp_path, damage, words):
    write_dataset(tmp_path / "demo", curated=39, noisy=13, test=13)
    code, output, error = call(capsys, "run", "--data", damage(tmp_path / "demo"), "--out", tmp_path / "out")
    assert (code, output) == (2, "")
    assert error.startswith("error: ") and error.count("\n") == 1
    assert all(word in error for word in words)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--members", "resnet"], "expected ensembles or members out of reference, demo"),
        (["--set", "epoch=3"], "found 'epoch'"),
        (["--set", "epochs"], "--set: expected FIELD=VALUE"),
        (["--folds", "-1,-2"], "expected folds between -1 and 127"),
        (["--set", "epochs=0"], "expected epochs to be a number from 1 to 10,000"),
        (["--folds", "most"], "expected all, or numbers such as 0,1,2"),
        (["--set", "size=32", "--set", "size=64"], "--set: expected one value of size, found 32 and 64"),
        (["--seed", "-1"], "argument --seed: expected a number from 0 to 9007199254740991, found '-1'"),
        (["--seed", str(2**53)], "argument --seed: expected a number from 0"),
        (["--warm-start"], "name the folder of the champion with --champions"),
        (["--champions", "m", "--warm-start", "2"], "--warm-start: expected a share of the epochs between 0 and 1"),
        (["--champions", "m", "--warm-start", "--init", "m"], "--init and --warm-start both say which weights"),
        (["--set", "freeze_epochs=1"], "--set freeze_epochs keeps weights of --init or --warm-start, found neither"),
        (["--init", "absent.pth"], "absent.pth: expected a file of weights or a folder of models, found nothing there"),
        (["--init", "ftp://host/m.pth"], "expected the URL of a folder in an object store"),
        (["--parallel", "0"], "--parallel: expected a number of at least 1"),
        (["--weights", "fitted"], "hold out folds with --folds 0,1,2,3,4"),
        (["--max-rejected", "5"], "expected a share between 0 and 1, such as 0.05, found '5'"),
        (["--cache-size", "1g"], "--cache-size limits the cache: name its folder with --cache"),
        (["--memory", "8g"], "--memory limits containers: add --docker"),
        (["--notify", "chat.example.org/hook"], "argument --notify: expected a URL that begins with http://"),
        (["--notify", "http://[::1/a-hook"], "argument --notify: expected a URL that begins with http://"),
        (["--docker", "--memory", "8"], "expected a size of at least 6m, such as 8g"),
    ],
)
def test_wrong_options_say_what_was_expected(capsys, tmp_path, data, options, message):
    code, _, error = call(capsys, "run", "--data", data, "--out", tmp_path / "out", *options)
    assert code == 2 and message in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_a_working_directory_that_was_deleted_is_named(capsys, tmp_path, data, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    code, output, error = call(capsys, "run", "--data", data, "--out", "out")
    assert (code, output) == (2, "") and error.startswith("error: the working directory was deleted; change to")


def test_a_full_disk_leaves_no_half_of_a_compiled_pipeline(capsys, tmp_path, monkeypatch):
    path = tmp_path / "p.yaml"
    path.write_text("of an earlier version")

    def fill(self, pipeline, package):
        Path(package).write_text("half", encoding="utf-8")
        raise OSError(28, "No space left on device", package)

    monkeypatch.setattr("kfp.compiler.Compiler.compile", fill)
    code, _, error = call(capsys, "compile", "-o", path)
    assert code == 2 and "No space left on device; of the volume" in error and error.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["p.yaml"] and path.read_text() == "of an earlier version"


def test_results_are_not_replaced_unasked(capsys, tmp_path, data):
    code, _, error = call(capsys, "run", "--data", data, "--out", tmp_path)
    assert code == 2 and "exists already" in error and "--force" in error


def test_nothing_but_results_is_ever_replaced(capsys, tmp_path, data):
    out = tmp_path / "out"
    out.mkdir()
    (out / "my.txt").touch()
    command = ["run", "--data", data, "--out", out, "--force"]
    code, _, error = call(capsys, *command)
    assert code == 2 and "replaces only the output of a run" in error
    (out / "scores.json").write_text("{}")
    code, _, error = call(capsys, *command)
    assert code == 2 and "found my.txt too; move it elsewhere" in error
    assert {path.name for path in tmp_path.rglob("*")} == {"out", "my.txt", "scores.json"}


def test_results_that_cannot_be_replaced_are_named_before_anything_starts(capsys, tmp_path, data, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scores.json").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path / "out")
    code, _, error = call(capsys, "run", "--data", data, "--out", tmp_path / "out", "--force")
    assert code == 2 and "read-only" in error and [path.name for path in tmp_path.iterdir()] == ["out"]


def test_champions_that_could_not_be_written_or_read_are_named_before_anything_starts(
    capsys, tmp_path, data, monkeypatch
):
    champions = tmp_path / "champions"
    command = ["run", "--data", data, "--out", tmp_path / "out", "--champions", champions]
    champions.mkdir()
    (champions / "champion.json").write_text("{}")
    code, _, error = call(capsys, *command)
    assert code == 2 and "champion.json: expected the key" in error and "ingest" not in error
    (champions / "champion.json").unlink()
    monkeypatch.setattr(os, "access", lambda path, mode: path != champions)
    code, _, error = call(capsys, *command)
    assert code == 2 and f"{champions}: expected a folder for the champions that can be written" in error
    assert [path.name for path in tmp_path.iterdir()] == ["champions"]


def test_an_error_of_the_system_is_one_line(capsys, tmp_path, data):
    (tmp_path / "file").touch()
    code, _, error = call(capsys, "run", "--data", data, "--out", tmp_path / "file" / "out")
    assert code == 2 and error.startswith("error: ") and "Not a directory" in error and error.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error(data):
    command = [sys.executable, "pipeline.py", "check", "--data", data]
    reading, writing = os.pipe()
    os.close(reading)
    folder = Path(pipeline.__file__).parent
    environment = os.environ | {"PYTHONPATH": "src"}
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment)
    os.close(writing)
    assert ended.returncode == 141 and "Error" not in ended.stderr


def test_compile_writes_the_pipeline(capsys, tmp_path):
    code, output, _ = call(capsys, "compile", "-o", tmp_path / "p.yaml")
    assert code == 0 and output.strip() == str(tmp_path / "p.yaml")
    assert next(yaml.safe_load_all((tmp_path / "p.yaml").read_text()))["pipelineInfo"]["name"] == "audiotagging"
    for path, message in [
        (tmp_path / "p.txt", "ends with .yaml"),
        (tmp_path / "no" / "p.yaml", "expected a file in a folder that exists"),
    ]:
        code, _, error = call(capsys, "compile", "-o", path)
        assert code == 2 and message in error


@pytest.mark.parametrize(("command", "default"), [("run", "that fit into --budget"), ("submit", "default: demo")])
def test_the_help_says_which_members_are_the_default(capsys, command, default):
    _, output, _ = call(capsys, command, "--help")
    assert default in " ".join(output.split()) and len(DEMO) == 6
