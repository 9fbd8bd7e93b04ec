import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from argparse import Namespace
from pathlib import Path

import pytest
import yaml

import pipeline
from audiotagging.data.synthetic import write_dataset
from audiotagging.errors import UserError
from audiotagging.members import DEMO, RANGES, REFERENCE, SETTABLE
from audiotagging.working_folder import MARKER
from commands import COMMANDS, PROGRAM, VERSION, main, parse
from commands.kfp_internals import Task
from commands.local.bars import Bars
from commands.local.console import KILLED, Console
from commands.outputs import working_on
from commands.run import _gather


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
    assert code == 2 and error.endswith("No space left on device\n")
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


@pytest.fixture
def outputs(tmp_path):
    """Outputs of stages, as the local runner gives them; what they log lies beside them."""
    stages = tmp_path / "stages"
    for name in ("spectrograms", "selection", "averaged", "audit"):
        (stages / name).mkdir(parents=True)
        (stages / name / f"{name}.csv").touch()
    for name in ("scores", "report", "log"):
        (stages / name).touch()
    names = ("spectrograms", "selection", "averaged", "audit", "scores", "report")
    return {name: Namespace(path=stages / name) for name in names} | {"models": [], "predictions": []}


def gather(outputs, out, *, cached=False):
    with working_on(out, force=True) as work:
        (work / "log.txt").touch()
        (work / "logs").mkdir(exist_ok=True)
        _gather(outputs, out, work=work, cached=cached)


@pytest.mark.parametrize(("cached", "same"), [(True, {"spectrograms"}), (False, {"spectrograms", "selection", "csv"})])
def test_results_share_no_file_with_a_cache_but_the_spectrograms(tmp_path, outputs, cached, same):
    gather(outputs, tmp_path / "out", cached=cached)
    found = {
        path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.csv") if path.stat().st_nlink > 1
    }
    assert {path.parent.name or "csv" for path in found} == same


def test_results_replace_earlier_ones_and_what_a_killed_run_left(tmp_path, outputs):
    for name in ("out", "out.work/new", "out.work/replaced"):
        (tmp_path / name / "models").mkdir(parents=True)
        (tmp_path / name / "models" / "old").touch()
    (tmp_path / "out" / "scores.json").touch()
    (tmp_path / "out.work" / MARKER).touch()
    gather(outputs, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"stages", "out"}
    assert not list(tmp_path.rglob("old")) and (tmp_path / "out" / "scores.json").exists()


def test_results_that_a_killed_run_was_replacing_are_put_back(tmp_path):
    (tmp_path / "out.work" / "replaced").mkdir(parents=True)
    (tmp_path / "out.work" / MARKER).touch()
    (tmp_path / "out.work" / "replaced" / "scores.json").write_text("mine")
    with pytest.raises(UserError, match="exists already"), working_on(tmp_path / "out", force=False):
        pass
    assert (tmp_path / "out" / "scores.json").read_text() == "mine"
    assert not (tmp_path / "out.work").exists()


def test_results_are_not_lost_if_they_cannot_be_replaced(tmp_path, outputs, monkeypatch):
    def fail(*_):
        raise OSError("full")

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scores.json").write_text("mine")
    monkeypatch.setattr("commands.outputs.move", fail)
    with pytest.raises(OSError, match="full"):
        gather(outputs, tmp_path / "out")
    assert (tmp_path / "out" / "scores.json").read_text() == "mine"
    assert {path.name for path in (tmp_path / "out.work").iterdir()} == {MARKER, "log.txt", "logs"}


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
        (tmp_path / "no" / "p.yaml", "expected a folder"),
    ]:
        code, _, error = call(capsys, "compile", "-o", path)
        assert code == 2 and message in error


OUTPUT = """\
[KFP Executor 2026-11-22 13:50:42,931 INFO]: Got executor_input:
{
    "inputs": {}
}
[KFP Executor 2026-11-22 13:50:43,000 INFO]: epoch 1 of 2
Traceback (most recent call last):
  File "x.py", line 1, in <module>
    int("\x1b[91mx\x1b[0m")
ValueError: invalid literal
error: train.csv: no column labels: fname
something: a line of another process
"""


class Terminal(io.StringIO):
    def isatty(self):
        return True


ROWS = [{"id": name, "fold": fold} for name in ("a", "b") for fold in (-1, 1)]
TRAIN = Task("train", ROWS[3])


def console_of(folder, terminal=None, *, interrupted=False):
    event = threading.Event()
    if interrupted:
        event.set()
    return Console(terminal or io.StringIO(), folder, rows=ROWS, tasks=9, interrupted=event)


def logged(message):
    return f"[KFP Executor 2026-11-22 13:50:43,000 INFO]: {message}\n"


def test_the_console_shows_the_stages_and_their_messages_and_keeps_the_failure(tmp_path):
    terminal = io.StringIO()
    console = console_of(tmp_path, terminal)
    console.started(TRAIN)
    for start in range(0, len(OUTPUT), 7):  # pieces, as print makes them
        console.write(OUTPUT[start : start + 7])
    console.ended(TRAIN, succeeded=False)
    shown = [
        "train member 2 of 2 (b), fold 1 ...",
        "  member 2 of 2, fold 1: epoch 1 of 2",
        "train member 2 of 2 (b), fold 1 failed after 0 s",
    ]
    assert terminal.getvalue().splitlines() == shown
    log = tmp_path / "logs" / "train-b-fold1.txt"
    assert console.failure == ("train member 2 of 2 (b), fold 1", "error", "train.csv: no column labels: fname", log)
    assert "Got executor_input" in log.read_text() and "\x1b" not in log.read_text()
    said = [re.fullmatch(r"\d\d:\d\d:\d\d (.*)", line)[1] for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert said == [shown[0], shown[2]]  # progress does not matter later


def test_the_console_does_not_say_that_a_stage_failed_which_was_interrupted(tmp_path):
    terminal = io.StringIO()
    console = console_of(tmp_path, terminal, interrupted=True)
    console.started(TRAIN)
    console.ended(TRAIN, succeeded=False)
    assert terminal.getvalue().splitlines()[-1] == "train member 2 of 2 (b), fold 1 interrupted after 0 s"


def test_the_console_counts_the_stages_that_are_done(tmp_path):
    terminal = io.StringIO()
    console = console_of(tmp_path, terminal)
    console.cached(Task("ingest"))
    console.started(Task("predict", ROWS[0]))
    console.ended(Task("predict", ROWS[0]), succeeded=True)
    assert terminal.getvalue().splitlines() == [
        "ingest unchanged, taken from the cache, 1 of 9 done",
        "predict member 1 of 2 (a) ...",
        "predict member 1 of 2 (a) done after 0 s, 2 of 9 done",
    ]


def test_a_terminal_has_a_bar_per_stage_below_the_lines_that_stay(tmp_path):
    terminal = Terminal()
    console = console_of(tmp_path, terminal)
    console.started(TRAIN)
    console.write(logged("epoch 1 of 2, loss 1.31"))
    console.write(logged("resuming from 3.checkpoint"))
    console.write(logged("epoch 2 of 2, loss 1.2"))
    console.ended(TRAIN, succeeded=True)
    bars = [
        "█████░░░░░ member 2 of 2, fold 1: epoch 1 of 2, loss 1.31",
        "██████████ member 2 of 2, fold 1: epoch 2 of 2",
    ]
    assert all(bar in terminal.getvalue() for bar in bars)
    assert screen(terminal.getvalue()) == [
        "train member 2 of 2 (b), fold 1 ...",
        "  member 2 of 2, fold 1: resuming from 3.checkpoint",
        "train member 2 of 2 (b), fold 1 done after 0 s, 1 of 9 done",
    ]


def screen(written):
    """Return the lines that a terminal shows after the escape sequences of the bars."""
    lines = []
    for piece in re.split("(\x1b\\[\\d+F\x1b\\[J|\n)", written):
        if erased := re.match("\x1b\\[(\\d+)F", piece):
            del lines[-int(erased[1]) :]
        elif piece != "\n" and piece:
            lines.append(piece)
    return lines


def test_bars_fit_the_terminal(monkeypatch):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((20, 3)))
    terminal = Terminal()
    bars = Bars(terminal)
    for name in "abcde":
        bars.set(name, f"{name} with a long text", 0.5)
    assert screen(terminal.getvalue()) == [f"█████░░░░░ {name} with a" for name in "ab"]


@pytest.mark.parametrize(
    ("output", "failure"),
    [
        ("", KILLED),
        ("[KFP Executor 2026-11-22 13:50:43,000 ERROR]: error: only logged\n", KILLED),
        ("error: it went\n", ("error", "it went")),
        ("error: of a library\nTraceback\ndefect: KeyError: 'a: b'\nmore\n", ("defect", "KeyError: 'a: b'")),
        ("out of memory: CUDA out of memory\n", ("out of memory", "CUDA out of memory")),
    ],
)
def test_a_failure_is_read_from_the_last_line_of_the_gate(tmp_path, output, failure):
    console = console_of(tmp_path)
    console.started(Task("ingest"))
    console.write("error: of a stage before\n")
    console.started(TRAIN)
    console.write(output)
    console.ended(TRAIN, succeeded=False)
    assert console.failure[1:3] == failure


def test_a_full_folder_of_temporary_files_is_named(tmp_path, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=4096)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full if path == "/temporary" else None)
    monkeypatch.setattr(tempfile, "tempdir", "/temporary")
    console = console_of(tmp_path)
    console.started(TRAIN)
    console.write(": 3: printf: printf: I/O error\n")
    console.ended(TRAIN, succeeded=False)
    _, kind, message, _ = console.failure
    assert kind == "error" and message.startswith("/temporary: expected space for temporary files")


def test_the_first_stage_that_fails_is_the_failure(tmp_path):
    console = console_of(tmp_path)
    for stage, error in (("select", MemoryError("killed")), ("evaluate", OSError("full"))):
        console.started(Task(stage))
        with contextlib.suppress(OSError, MemoryError):
            raise error
        console.ended(Task(stage), succeeded=False, error=error)
    assert console.failure == ("select", "out of memory", "killed", tmp_path / "logs" / "select.txt")


def test_the_demo_members_are_the_default(capsys):
    _, output, _ = call(capsys, "run", "--help")
    assert "default: demo" in output and len(DEMO) == 6
