"""The benchmark of a GPU: every part of it runs, here on the CPU with little work, and what fails is said."""

import os
import subprocess
import sys
import tomllib
from dataclasses import replace

import pytest
import torch
from helpers.modules import ROOT
from helpers.slow import slow_but

from benchmarks import gpu, training

pytestmark = pytest.mark.usefixtures("narrow_networks")
TINY = replace(training.STEP, size=32, batch_size=2)


@pytest.fixture(autouse=True)
def little_work(monkeypatch):
    monkeypatch.setattr(training, "CLIPS", 4)
    training.random_clips.cache_clear()
    monkeypatch.setattr(gpu, "MEMBERS", [TINY, replace(TINY, id="other", network="xresnet34")])
    monkeypatch.setattr(gpu, "SMALL", replace(TINY, epochs=1, epoch_size=4))
    for name, value in {"WARM_UP": 0, "STEPS": 1, "PROFILED": 1, "COMPILER": "eager"}.items():
        monkeypatch.setattr(gpu, name, value)
    yield
    training.random_clips.cache_clear()
    torch.use_deterministic_algorithms(False)


def table(capsys, name):
    """Return the rows of a part's table, whose cells are as many as its heading's."""
    gpu.print_rows(gpu.PARTS[name][0]())
    heading, rule, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()
    )
    assert set(rule) == {"---"} and all(len(row) == len(heading) for row in rows)
    return rows


@pytest.mark.parametrize("name", slow_but(["eager", "compiled"], "eager"))
def test_every_member_has_a_speed_and_the_hours_that_follow_from_it(capsys, name):
    rows = table(capsys, name)
    assert [row[0] for row in rows] == [*(member.id for member in gpu.MEMBERS), "all, one after the other"]
    for member, row in zip(gpu.MEMBERS, rows, strict=False):
        crops = member.cycles * member.epochs * member.epoch_size * member.batch_size
        assert float(row[2]) == pytest.approx(crops / float(row[1]) / 3600, rel=0.1, abs=0.01)


def test_graphs_are_for_a_gpu_alone(capsys):
    assert table(capsys, "graphed") == []


def test_a_profile_names_what_takes_longest(capsys):
    rows = table(capsys, "profiled")
    assert [row[0] for row in rows[:3]] == ["whole step", "making its batch, alone", "device busy"]
    assert all(float(row[1]) > 0 for row in rows[:3])
    kernels = [float(row[1]) for row in rows if row[0].startswith("`")]
    assert len(kernels) == gpu.KERNELS and kernels == sorted(kernels, reverse=True)
    assert any("conv" in row[0] for row in rows)


def test_the_spectrograms_are_where_the_processor_is(capsys):
    [row] = table(capsys, "stored")
    assert row[0] == "in memory" and row[3] == "yes" and float(row[1]) > 0


def test_a_killed_and_resumed_run_has_the_same_weights(capsys):
    rows = table(capsys, "resumed")
    assert len(rows) == 2 and all(float(row[1]) > 0 and row[2:] == ["0", "0"] for row in rows)


def test_a_run_that_forgets_its_optimiser_has_others(capsys, monkeypatch):
    load = gpu.TrainingRun.load_state
    monkeypatch.setattr(
        gpu.TrainingRun, "load_state", lambda run, state: load(run, state | {"optimiser": run.optimiser.state_dict()})
    )
    assert all(row[2] == "0" and float(row[3]) > 0 for row in table(capsys, "resumed"))


def test_the_curve_of_a_device_is_that_of_the_cpu(capsys):
    rows = table(capsys, "curves")
    assert [row[0] for row in rows] == ["1", "2", "4"]
    assert all(row[1] == row[2] and float(row[3]) == pytest.approx(float(row[1]), rel=0.1) for row in rows)


@pytest.mark.parametrize(
    "code, limit, said",
    [
        ("print('| row |')", 60, ""),
        ("raise RuntimeError('CUDA error: out of memory')", 60, "failed: RuntimeError: CUDA error: out of memory"),
        ("import os; os.abort()", 60, "failed: exit code -6"),
        ("import time; time.sleep(60)", 0.2, "stopped after 0 s"),
    ],
)
def test_why_a_part_ended_is_said(code, limit, said):
    assert gpu.run_part([sys.executable, "-c", code], limit) == said


def test_a_part_that_fails_ends_no_other(capsys, monkeypatch):
    monkeypatch.setattr(gpu, "run_part", lambda command, limit: "failed: no memory" if "eager" in command else "")
    monkeypatch.setattr(sys, "argv", ["gpu"])
    gpu.main()
    out = capsys.readouterr().out
    assert out.count("failed: no memory") == 1 and all(part.__doc__ in out for part, _ in gpu.PARTS.values())


def test_all_parts_take_at_most_eight_minutes():
    assert sum(limit for _, limit in gpu.PARTS.values()) <= 8 * 60


@pytest.mark.slow
def test_torch_numpy_pandas_and_pyarrow_suffice():
    """Others are not there; some of them torch and pandas need themselves."""
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    absent = {name.partition("==")[0].replace("-", "_") for name in packages}
    absent -= {"torch", "numpy", "pandas", "pyarrow", "jinja2", "markupsafe"}
    code = f"import sys\nsys.modules.update(dict.fromkeys({absent}))\n"  # imports of them fail
    code += "from dataclasses import replace\nfrom benchmarks import gpu, training\ntraining.CLIPS = 4\n"
    code += "gpu.SMALL = replace(gpu.SMALL, size=32, batch_size=2, epochs=1, epoch_size=2)\n"
    code += "gpu.print_rows(gpu.resumed())"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "safetensors" in absent and "tqdm" in absent, done.stderr
    assert done.stdout.count("\n") == 4
