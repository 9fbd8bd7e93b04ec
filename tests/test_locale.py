"""File names that are not ASCII work in every locale, also in one that knows only ASCII."""

import csv
import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.fabricated import fabricate_run, models_of, replace_weights
from safetensors.torch import save

import pipeline
from audiotagging.members import DEMO
from audiotagging.training.networks import NETWORKS

ROOT = Path(pipeline.__file__).parent
C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": "src"}
NAME = "Bär 熊.wav"


def call(*arguments, **environment):
    command = [sys.executable, "pipeline.py", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, env=os.environ | C | environment)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def folder(tmp_path, data):
    """The small data folder, in a folder and with a curated clip whose names are not ASCII."""
    folder = tmp_path / "Geräusche"
    data.rename(folder)
    (folder / "train_curated" / "c00.wav").rename(folder / "train_curated" / NAME)
    table = folder / "train_curated.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("c00.wav", NAME), encoding="utf-8")
    return folder


def test_check_reads_a_folder(folder):
    code, output, error = call("check", "--verify", "0", "--data", folder)
    assert (code, error) == (0, "") and f"{folder} can be used" in output
    (folder / "train_curated" / NAME).unlink()
    code, output, error = call("check", "--verify", "0", "--data", folder)
    assert code == 2 and NAME in output


@pytest.mark.slow
def test_a_stage_runs_in_a_process_of_its_own(folder, tmp_path):
    code, output, _ = call("preprocess", "--data", folder, "--out", tmp_path / "Bänder", "--workers", 2)
    assert code == 0 and output == f"{tmp_path / 'Bänder'}\n"


@pytest.mark.slow
def test_tag_names_the_files(tmp_path):
    run = fabricate_run(tmp_path / "Läufe", clips=10, classes=3, members=[replace(DEMO[0], size=32)], folds=[-1])
    (model,) = models_of(run)
    replace_weights(model, save(NETWORKS[DEMO[0].network](4 * 3).state_dict()))
    soundfile.write(tmp_path / NAME, np.random.default_rng(1).uniform(-0.5, 0.5, 44_100), 44_100)
    code, output, error = call(
        "tag", tmp_path / NAME, tmp_path / "fehlt.wäv", "--models", run / "models", "--format", "csv"
    )
    assert code == 1 and "fehlt.wäv" in error
    assert {row["file"] for row in csv.DictReader(io.StringIO(output))} == {str(tmp_path / NAME)}


def test_an_output_that_knows_only_ascii_gets_escapes(folder):
    (folder / "train_curated" / NAME).unlink()
    code, output, error = call("check", "--verify", "0", "--data", folder, PYTHONUTF8="1", PYTHONIOENCODING="ascii")
    assert code == 2 and r"B\xe4r \u718a.wav" in output and error == ""
