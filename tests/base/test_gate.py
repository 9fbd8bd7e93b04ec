"""Every exception leaves through the gate: one line, an exit code, and the traceback of a defect in a file."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.modules import STAGES
from helpers.slow import slow_but

import pipeline
from audiotagging.base import full_disk, gate
from audiotagging.base.errors import MachineError, UserError
from audiotagging.base.files import atomic_file, atomic_folder
from commands import COMMANDS, check, main, module_of
from commands.local import runner
from commands.local.runner import StageError
from components.stage import EXECUTOR

ROOT = Path(pipeline.__file__).parent
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
DEFECTS = [lambda: np.zeros(3).reshape(2, 2), lambda: [][1], lambda: {}["fname"], lambda: 1 / 0]


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_one_line_that_names_the_file_with_the_traceback(capsys, monkeypatch, tmp_path, defect):
    monkeypatch.setattr(gate.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(check, "run", lambda args: defect())
    assert main(None, ["check", "--data", "x"]) == 70
    printed = capsys.readouterr().err
    (file,) = tmp_path.iterdir()
    assert printed.startswith("defect: ") and printed.count("\n") == 1
    assert printed.endswith(f"; this is a defect of the program, not of your input; please report it with {file}\n")
    assert Path(__file__).name in file.read_text() and "Traceback" in file.read_text()


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (UserError("expected a, found b"), "error: expected a, found b", 2),
        (PermissionError(13, "Permission denied", "x.csv"), "error: x.csv: Permission denied", 2),
        (FileNotFoundError(2, "No such file", "x", None, "y"), "error: x and y: No such file", 2),
        (
            shutil.Error([("a", "b/a", "No space"), ("c", "b/c", "No")]),
            "error: a could not be copied: No space (and 1 more)",
            2,
        ),
        (OSError(28, "No space left on device"), "error: the output: No space left on device; free some space", 2),
        (OSError(12, "Cannot allocate memory"), "out of memory: [Errno 12] Cannot allocate memory", 1),
        (RuntimeError("can't start new thread"), "out of memory: can't start new thread", 1),
        (RuntimeError("std::bad_alloc"), "out of memory: std::bad_alloc", 1),
        (
            ImportError("libtorch.so: failed to map segment from shared object"),
            "out of memory: libtorch.so: failed to map segment from shared object",
            1,
        ),
        (MemoryError(), "out of memory: use a machine with more memory", 1),
        (RuntimeError("CUDA out of memory. Tried to"), "out of memory: CUDA out of memory. Tried to", 1),
        (RuntimeError("CUDA error: out of memory"), "out of memory: CUDA error: out of memory", 1),
        *((RuntimeError(f"{text}: failed"), f"machine: {text}: failed", 1) for text in gate.DEVICE),
        (MachineError("its GPU failed"), "machine: its GPU failed", 1),
        (KeyboardInterrupt(), "interrupted", 130),
    ],
)
def test_what_is_no_defect_says_so_in_one_line(capsys, error, line, code):
    def fail():
        raise error

    assert gate.through(fail) == code
    assert capsys.readouterr().err == line + "\n"


def test_a_defect_stays_a_defect_where_nothing_can_be_written(capsys, monkeypatch, tmp_path):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gate.tempfile, "mkstemp", full)
    assert gate.through(lambda: {}["fname"]) == 70
    line = capsys.readouterr().err
    assert line.startswith("defect: KeyError: 'fname'; this is a defect of the program") and line.count("\n") == 1
    assert "please report it with this line" in line and f"({Path(__file__).name}:" in line


def test_a_log_that_cannot_be_written_does_not_hide_the_reason(capsys):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    assert gate.leave(KeyError("fname"), log=Full()) == 70
    assert capsys.readouterr().err == "defect: KeyError: 'fname'\n"


def test_what_is_full_has_a_name(capsys, monkeypatch, tmp_path):
    def fail():
        raise OSError(28, "No space left on device")

    for block in (atomic_file, atomic_folder):
        with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/out'"), block(tmp_path / "out"):
            fail()
    monkeypatch.setattr(full_disk.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2**30, 2**30, 0))
    monkeypatch.setattr(gate.tempfile, "tempdir", "/some/folder")
    assert gate.through(fail) == 2
    assert capsys.readouterr().err.startswith("error: /some/folder, for temporary files: No space left on device")


@pytest.mark.parametrize(("number", "reason"), [(28, "No space left on device"), (122, "Disk quota exceeded")])
def test_a_full_volume_is_named_with_what_is_free_and_what_is_needed(capsys, monkeypatch, tmp_path, number, reason):
    def fail():
        with full_disk.needing(312_000_000), atomic_file(tmp_path / "out"):
            raise OSError(number, "Error writing bytes to file")  # as Arrow says it

    monkeypatch.setattr(full_disk.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(5e10, 5e10, 12_000_000))
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path)
    assert gate.through(fail) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/out: {reason}; of the volume {tmp_path} 12 MB of 50 GB are free, 312 MB are needed; free "
        "some space, or enlarge it\n"
    )


def test_a_full_volume_that_a_folder_is_copied_to_is_named(capsys, tmp_path):
    def fail():
        raise shutil.Error([("a", f"{tmp_path}/b", f"[Errno 28] No space left on device: '{tmp_path}/b'")])

    assert gate.through(fail) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"error: {tmp_path}/b: No space left on device; of the volume /") and line.count("\n") == 1


# Stages: kfp's program is run behind the gate.


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_starts_behind_the_gate(stage):
    component = getattr(__import__(f"components.{stage}", fromlist=[stage]), stage)
    command = " ".join(component.component_spec.implementation.container.command).split()
    assert command[command.index(EXECUTOR) - 3 :][:3] == ["python3", "-m", "audiotagging.base.gate"]


@pytest.mark.parametrize(
    ("program", "last", "code"),
    [
        ("print('fine')", "fine", 0),
        ("raise UserError('expected a, found b')", "error: expected a, found b", 2),
        ("open('/nowhere/x')", "error: /nowhere/x: No such file or directory", 2),
        ("raise MemoryError", "out of memory: use a machine with more memory", 1),
        ("raise KeyError('a')", "defect: KeyError: 'a'", 70),
        ("raise SystemExit(2)", "", 2),
        ("raise KeyboardInterrupt", "interrupted", 130),
        ("assert sys.argv[1:] == ['--x', '1'] and __name__ == '__main__'", "", 0),
    ],
)
def test_a_program_behind_the_gate_says_at_the_end_of_its_log_why_it_ends(tmp_path, program, last, code):
    (tmp_path / "program.py").write_text(f"import sys\nfrom audiotagging.base.errors import UserError\n{program}\n")
    command = [sys.executable, "-m", "audiotagging.base.gate", "program", "--x", "1"]
    environment = ENVIRONMENT | {"PYTHONPATH": f"{tmp_path}:{ENVIRONMENT['PYTHONPATH']}"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == code
    assert (done.stdout.splitlines() or [""])[-1] == last
    assert ("Traceback" in done.stdout) == (code == 70)
    assert not last.startswith(tuple(gate.CODES)) or gate.LAST_LINE.fullmatch(last)


@pytest.mark.parametrize(("kind", "code"), gate.CODES.items())
def test_the_run_ends_with_the_code_of_its_stage(capsys, monkeypatch, tmp_path, data, kind, code):
    def fail(*args, **options):
        raise StageError("train", kind, "something is wrong", tmp_path / "log.txt")

    monkeypatch.setattr("commands.run.run_pipeline", fail)
    assert main(pipeline.PIPELINES, ["run", "--data", str(data), "--out", str(tmp_path / "out")]) == code
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(f"{kind}: train: something is wrong; {runner.ADVICE[kind]}")
    assert str(tmp_path / "log.txt") in lines[-1]
    assert ("this is a defect of the program" in lines[-1]) == (kind == "defect")


# A process that a person has started.


def start(*arguments, **options):
    command = [sys.executable, "pipeline.py", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, text=True, **options)


WAITING = """
import sys, time
from commands import check, main
check.run = lambda args: (print("waiting", flush=True), time.sleep(600))
sys.exit(main(None, ["check", "--data", "x"]))
"""


def test_an_interrupt_leaves_no_traceback():
    command = [sys.executable, "-c", WAITING]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, text=True, **pipes) as process:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        output, error = process.communicate()
    assert (process.returncode, output, error) == (130, "", "interrupted\n")


@pytest.mark.parametrize(
    ("imported", "line", "code"),
    [
        ("1 / 0", r"defect: ZeroDivisionError: .* report it with \S+\n", 70),
        ("import os, signal; os.kill(os.getpid(), signal.SIGINT)", "interrupted\n", 130),
    ],
)
def test_what_ends_the_imports_is_no_traceback(tmp_path, imported, line, code):
    (tmp_path / "kfp.py").write_text(imported)
    environment = ENVIRONMENT | {"PYTHONPATH": f"{tmp_path}:{ENVIRONMENT['PYTHONPATH']}", "TMPDIR": str(tmp_path)}
    command = [sys.executable, "pipeline.py", "check"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == code and re.fullmatch(line, done.stderr)


@pytest.mark.parametrize("closed", slow_but(["1", "2", "012"], "012"))
@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["check", "--data", "/nowhere"], 2)])
def test_closed_outputs_are_no_error(tmp_path, closed, arguments, code):
    close = " ".join(f"{number}>&-" for number in closed)
    command = f'{sys.executable} pipeline.py "$@" {close}; echo $? > {tmp_path / "code"}'
    done = subprocess.run(["sh", "-c", command, "sh", *arguments], cwd=ROOT, env=ENVIRONMENT, capture_output=True)
    assert int((tmp_path / "code").read_text()) == code
    assert b"Traceback" not in done.stderr + done.stdout and b"Exception" not in done.stderr + done.stdout


@pytest.mark.parametrize("stream", ["stdout", slow_but(["stderr"])[0]])
@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["check", "--data", "/nowhere"], 2)])
def test_outputs_that_nobody_reads_or_that_are_full_leave_no_traceback(tmp_path, stream, arguments, code):
    reading, writing = os.pipe()
    os.close(reading)
    full = os.open("/dev/full", os.O_WRONLY)
    for number in (writing, full):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | {stream: number}
        process = start(*arguments, **pipes)
        printed = "".join(text or "" for text in process.communicate())
        os.close(number)
        assert process.returncode == code and "Traceback" not in printed and "Exception" not in printed


def test_every_command_goes_through_the_gate(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(gate.tempfile, "tempdir", str(tmp_path))
    for name in COMMANDS:
        command = module_of(name)
        monkeypatch.setattr(command, "add_arguments", lambda parser: 1 / 0)
        assert main(None, [name]) == 70
    assert len(list(tmp_path.iterdir())) == len(COMMANDS)
