import io

import pytest
import yaml

import pipeline
from audiotagging.members import DEMO
from audiotagging.synthetic import write_dataset
from commands import COMMANDS, main
from commands.console import Console


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "demo"
    write_dataset(folder, curated=39, noisy=13, test=13)
    return folder


def call(capsys, *arguments):
    """Return the exit code, the output and the error output of a command."""
    try:
        code = main(pipeline.audiotagging, [str(argument) for argument in arguments])
    except SystemExit as exit:
        code = exit.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(capsys, command):
    code, output, _ = call(capsys, command, "--help")
    assert code == 0 and f"pipeline.py {command}" in output


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
        (["--members", "resnet"], "no member or table is called 'resnet'"),
        (["--set", "epoch=3"], "no field 'epoch'"),
        (["--set", "epochs"], "--set takes FIELD=VALUE"),
        (["--folds", "-1,7"], "folds are numbered -1 to 4"),
        (["--folds", "all"], "expected numbers as in -1,0,1"),
        (["--warm-start"], "say with --models where it is"),
        (["--models", "m", "--warm-start", "2"], "--warm-start expects a share of the epochs between 0 and 1"),
        (["--parallel", "0"], "--parallel expects a number from 1 on"),
    ],
)
def test_wrong_options_say_what_was_expected(capsys, tmp_path, data, options, message):
    code, _, error = call(capsys, "run", "--data", data, "--out", tmp_path / "out", *options)
    assert code == 2 and message in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_results_are_not_replaced_unasked(capsys, tmp_path, data):
    code, _, error = call(capsys, "run", "--data", data, "--out", tmp_path)
    assert code == 2 and "exists already" in error and "--force" in error


def test_compile_writes_the_pipeline(capsys, tmp_path):
    code, output, _ = call(capsys, "compile", "-o", tmp_path / "p.yaml")
    assert code == 0 and output.strip() == str(tmp_path / "p.yaml")
    assert next(yaml.safe_load_all((tmp_path / "p.yaml").read_text()))["pipelineInfo"]["name"] == "audiotagging"
    for path, message in [(tmp_path / "p.txt", "ends in .yaml"), (tmp_path / "no" / "p.yaml", "not a folder")]:
        code, _, error = call(capsys, "compile", "-o", path)
        assert code == 2 and message in error


KFP_OUTPUT = """\
13:50:42.931 - INFO - Executing task \x1b[96m'train'\x1b[0m
13:50:42.931 - INFO - Streamed logs:
    [KFP Executor 2026-11-22 13:50:42,931 INFO]: Looking for component `train` in --component_module_path
    [KFP Executor 2026-11-22 13:50:42,931 INFO]: Got executor_input:
    {
        "inputs": {}
    }
    [KFP Executor 2026-11-22 13:50:43,000 INFO]: epoch 1 of 2
    Traceback (most recent call last):
      File "x.py", line 1, in <module>
    audiotagging.dataset.DataError: train.csv: no column labels
13:50:42.940 - INFO - Task \x1b[96m'train'\x1b[0m finished with status \x1b[91mFAILURE\x1b[0m
"""


def test_the_console_shows_the_stages_and_their_messages_and_keeps_the_failure(tmp_path):
    terminal = io.StringIO()
    console = Console(terminal, tmp_path / "log.txt")
    for start in range(0, len(KFP_OUTPUT), 7):  # pieces, as print makes them
        console.write(KFP_OUTPUT[start : start + 7])
    assert terminal.getvalue().splitlines() == ["train ...", "  epoch 1 of 2", "train failed after 0 s"]
    assert console.failure == ("train", "audiotagging.dataset.DataError", "train.csv: no column labels")
    assert "Got executor_input" in (tmp_path / "log.txt").read_text()


def test_the_demo_members_are_the_default(capsys):
    _, output, _ = call(capsys, "run", "--help")
    assert "default: demo" in output and len(DEMO) == 6
