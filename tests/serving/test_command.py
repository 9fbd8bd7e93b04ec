"""The command `serve`, and the same command where there is only the library, as in an image."""

import json
import re
import runpy
import signal
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import httpx
import pytest
import torch
from helpers.fabricated import fabricate_run, models_of, replace_weights
from helpers.slow import slow_but
from helpers.tiny_ensemble import MEMBERS
from safetensors.torch import save

from audiotagging.artifacts.averaging import Averaging
from audiotagging.training.networks import NETWORKS
from commands import main

ROOT = Path(__file__).parents[2]
OPTIONS = ("--models", "--host", "--port", "--allowed-hosts", "--max-megabytes", "--max-seconds", "--queue", "--drain")
PROGRAMS = {"command": [ROOT / "pipeline.py", "serve"], "library": ["-m", "audiotagging.serving"]}


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A run of one member with its real network, which other processes can load."""
    run = fabricate_run(tmp_path_factory.mktemp("real"), members=MEMBERS[:1], classes=6, clips=4)
    torch.manual_seed(0)
    for path in models_of(run):
        replace_weights(path, save(NETWORKS[MEMBERS[0].network](4 * 6).state_dict()))
    averaging = Averaging("arithmetic", {MEMBERS[0].id: 1.0})
    (run / "ensemble.json").write_text(json.dumps(asdict(averaging)))
    return run


@pytest.mark.parametrize("program", slow_but(PROGRAMS, "command"))
def test_it_says_where_it_answers_and_ends_in_order(real, sounds, program):
    command = [sys.executable, *PROGRAMS[program], "--models", real, "--port", "0", "--drain", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stderr.readline()
            url = re.fullmatch(r"version [0-9a-f]{16} answers at (http://127\.0\.0\.1:\d+)\n", line)[1]
            answer = httpx.post(f"{url}/tag", content=(sounds / "short.flac").read_bytes(), timeout=60)
            assert answer.status_code == 200 and len(answer.json()[0]["tags"]) == 5
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0 and process.stderr.read() == ""
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--max-seconds", "0"),
        ("--max-megabytes", "nan"),
        ("--queue", "-1"),
        ("--port", "65536"),
        ("--drain", "-1"),
        ("--drain", "nan"),
        ("--drain", "inf"),
    ],
)
def test_wrong_options_are_named(option, value, tmp_path, capsys):
    assert main(None, ["serve", "--models", str(tmp_path), option, value]) == 2
    assert capsys.readouterr().err.startswith(f"error: {option}: expected a number")


@pytest.mark.parametrize(
    "arguments",
    [[f"{option}=--"] for option in OPTIONS] + [["--port=x"], ["--pot=1"], ["rest"], ["--allowed-hosts"], []],
)
def test_arguments_are_read_as_by_the_command_where_there_is_only_the_library(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["serving", *([] if arguments == [] else ["--models=x"]), *arguments])
    monkeypatch.setattr("audiotagging.base.gate.prepare_process", lambda: None)
    with pytest.raises(SystemExit) as end:
        runpy.run_module("audiotagging.serving", run_name="__main__", alter_sys=True)
    found = capsys.readouterr().err
    assert end.value.code == 2 and found.startswith("error: ") and found.count("\n") == 1


def test_a_folder_without_models_is_refused(tmp_path, capsys):
    assert main(None, ["serve", "--models", str(tmp_path)]) == 2
    assert "expected the output of a run" in capsys.readouterr().err


def test_a_port_that_is_in_use_is_refused(run, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert main(None, ["serve", "--models", str(run), "--port", str(other.getsockname()[1])]) == 2
    assert "Address already in use" in capsys.readouterr().err
