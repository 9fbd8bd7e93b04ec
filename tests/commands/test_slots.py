"""How this machine is divided among the members that train at once."""

import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from audiotagging.members import DEMO, LINEAR_MEMBER, REFERENCE
from commands.local import slots
from commands.local.slots import divide, stored_bytes, usable_gpus

GIB = 2**30
DEMO_ROWS = [asdict(member) for member in DEMO]


@pytest.fixture
def machine(monkeypatch):
    """Return a function that makes this a machine of so many cores with so much free memory in GiB."""

    def make(cores, memory=1000.0):
        monkeypatch.setattr(slots, "threads", lambda: cores)
        monkeypatch.setattr(slots, "_free_memory", lambda: memory * GIB)

    return make


@pytest.mark.parametrize(
    ("cores", "memory", "rows", "parallel", "at_once", "threads"),
    [
        (2, 16, DEMO_ROWS, None, 2, 1),
        (2, 2.5, DEMO_ROWS, None, 1, 2),  # a demo member takes between 1 and 2 GiB
        (2, 0.5, DEMO_ROWS, None, 1, 2),
        (16, 64, DEMO_ROWS, None, 6, 2),  # no more than there are
        (16, 64, DEMO_ROWS[:1], None, 1, 16),
        (2, 64, [*DEMO_ROWS[:1], asdict(LINEAR_MEMBER)], None, 1, 2),  # all cores are for the network
        (2, 64, [asdict(LINEAR_MEMBER)] * 5, None, 2, 1),
        (5, 64, DEMO_ROWS, 2, 2, 2),
        (2, 64, DEMO_ROWS, 4, 4, 1),
        (8, 64, DEMO_ROWS, 100, 6, 1),
        (16, 24, [asdict(member) for member in REFERENCE], None, 2, 8),  # up to 10 GiB each
    ],
)
def test_members_share_the_cores_as_far_as_memory_goes(machine, cores, memory, rows, parallel, at_once, threads):
    machine(cores, memory)
    divided = divide(rows, stored=0, parallel=parallel, gpus=[])
    assert divided.rows == [{"OMP_NUM_THREADS": str(threads)}] * at_once
    assert divided.alone == {"OMP_NUM_THREADS": str(cores)}
    assert (
        str(divided)
        == f"training {at_once} member{'s' * (at_once > 1)} at once on the CPU, threads per member: {threads}"
    )


def test_the_sounds_count_for_every_member(machine, tmp_path):
    machine(8, 8)
    sound = tmp_path / "a.wav"
    with sound.open("wb") as file:
        file.truncate(20 * GIB)  # a hole: it takes no room
    assert len(divide(DEMO_ROWS, stored=0, parallel=None, gpus=[]).rows) == 4
    assert len(divide(DEMO_ROWS, stored=stored_bytes([sound]), parallel=None, gpus=[]).rows) == 2


@pytest.mark.parametrize(
    ("gpus", "parallel", "expected"),
    [
        (["GPU-a"], None, ["GPU-a"]),
        (["GPU-a", "GPU-b", "GPU-c"], None, ["GPU-a", "GPU-b", "GPU-c"]),
        (["GPU-a", "GPU-b"], 1, ["GPU-a"]),
        (["GPU-a", "GPU-b"], 3, ["GPU-a", "GPU-b", "GPU-a"]),
        ([str(number) for number in range(8)], None, list("012345")),
    ],
)
def test_one_member_trains_on_each_gpu(machine, gpus, parallel, expected):
    machine(12, 1)
    divided = divide(DEMO_ROWS, stored=0, parallel=parallel, gpus=gpus)
    assert [row["CUDA_VISIBLE_DEVICES"] for row in divided.rows] == expected
    assert "CUDA_VISIBLE_DEVICES" not in divided.alone and "on GPUs" in str(divided)


@pytest.mark.parametrize(
    ("torch", "visible", "gpus"),
    [
        ("2.13.0", None, ["GPU-a", "GPU-b"]),
        ("2.13.0+cu130", None, ["GPU-a", "GPU-b"]),
        ("2.13.0+cpu", None, []),
        ("2.13.0", "1,GPU-b", ["1", "GPU-b"]),
        ("2.13.0", "", []),
        ("2.13.0", "-1", []),
    ],
)
def test_the_gpus_are_those_that_torch_would_use(monkeypatch, tmp_path, torch, visible, gpus):
    (tmp_path / "nvidia-smi").write_text(f"#!{sys.executable}\nprint('GPU-a\\nGPU-b')\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(slots, "version", {"torch": torch}.__getitem__)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert usable_gpus(docker=False) == gpus
    for build in ("cpu", "cuda"):
        monkeypatch.setenv("AUDIOTAGGING_TORCH", build)
        monkeypatch.setattr(slots, "version", {}.__getitem__)  # the torch of this environment does not matter
        expected = {"cpu": [], "cuda": gpus or (["GPU-a", "GPU-b"] if visible is None else [])}
        assert usable_gpus(docker=True) == expected[build]


@pytest.mark.parametrize("program", [None, "import sys; sys.exit(9)"])
def test_without_a_driver_there_is_no_gpu(monkeypatch, tmp_path, program):
    if program:
        (tmp_path / "nvidia-smi").write_text(f"#!{sys.executable}\n{program}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(slots, "version", {"torch": "2.13.0"}.__getitem__)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert usable_gpus(docker=False) == []


PEAK = """
import re, resource, sys
from pathlib import Path
import numpy as np, pandas as pd, torch
from audiotagging.artifacts.spectrogram_shards import Spectrograms
from audiotagging.members import Member
from audiotagging.training.loop import TrainingRun
clips = pd.DataFrame({"clip": ["a", "b"], "labels": [["x"], ["y"]], "part": "curated", "fold": 0, "usage": ""})
data = Spectrograms(clips, np.zeros((512, 128), np.uint8), np.array([0, 256, 512]), ["x", "y"])
size, batch_size = map(int, sys.argv[1:])
member = Member(id="m", network="xresnet50", loss="bce", epochs=1, epoch_size=2, size=size, batch_size=batch_size)
run = TrainingRun(member, data, fold=-1, device=torch.device("cpu"), precision="float32")
run.train_step()
run.train_step()
if sys.platform == "darwin":
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
else:  # where the above is at least the memory of the process that started this one
    print(1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("size", "batch_size"), [(64, 16), (256, 4)])
def test_a_training_takes_about_the_memory_that_is_counted_for_it(size, batch_size):
    command = [sys.executable, "-c", PEAK, str(size), str(batch_size)]
    peak = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    row = asdict(replace(REFERENCE[-1], size=size, batch_size=batch_size))
    assert 0.5 < peak / slots._needed([row], 0) < 1.1
