"""Decides how many members train at once on this machine, and assigns threads and GPUs to them.

If there are GPUs, one member trains on each. On a CPU, many members with few threads each are faster than one member at
a time with all threads, as long as there are no more threads than cores. Otherwise the threads wait for each other (see
the rows of `threads` in `make bench`).
"""

import contextlib
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from audiotagging.base.machine import memory_limit, threads
from audiotagging.base.wording import pluralize
from audiotagging.members import LINEAR
from components.images import image

# Memory that training on a CPU needs, in bytes, measured with the largest network, xresnet50.
PROCESS = 1.6 * 2**30  # Python, torch, the weights and their moments
PIXEL = 2000  # activations per pixel of a batch
SPECTROGRAM = 0.1  # spectrograms per byte of sound with 16-bit samples


@dataclass(frozen=True)
class Slots:
    """The environment variables for stages that run at the same time.

    Attributes:
        alone: Variables of a stage that runs alone.
        rows: Variables of each row of the loop that runs at the same time.
    """

    alone: Mapping[str, str]
    rows: Sequence[Mapping[str, str]]

    def with_variables(self, more: Mapping[str, str]) -> "Slots":
        """Return the same with more variables for all stages."""
        return Slots({**self.alone, **more}, [{**row, **more} for row in self.rows])

    def __str__(self) -> str:
        """Return a readable summary."""
        first = self.rows[0]
        where = "on GPUs" if "CUDA_VISIBLE_DEVICES" in first else "on the CPU"
        members = f"{pluralize(len(self.rows), 'member')} at once {where}"
        return f"training {members}, threads per member: {first['OMP_NUM_THREADS']}"


def divide(rows: Sequence[Mapping[str, Any]], *, stored: float, parallel: int | None, gpus: Sequence[str]) -> Slots:
    """Divide this machine among the members that train at the same time.

    Args:
        rows: The rows to train.
        stored: Bytes of spectrograms that every member keeps in memory.
        parallel: Number of rows to train at the same time. None for as many as fit.
        gpus: The GPUs to use.
    """
    cores = threads()
    rows = [row for row in rows if row.get("network") != LINEAR] or rows  # which takes a second
    if parallel is None:
        parallel = len(gpus) or min(cores, int(_free_memory() // _needed(rows, stored)))
    parallel = max(1, min(parallel, len(rows)))
    slots: list[dict[str, str]] = [{"OMP_NUM_THREADS": str(max(1, cores // parallel))} for _ in range(parallel)]
    for number, slot in enumerate(slots if gpus else []):
        slot["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    return Slots({"OMP_NUM_THREADS": str(cores)}, slots)


def stored_bytes(sounds: Iterable[Path]) -> float:
    """Estimate how many bytes the spectrograms of some sound files have."""
    return SPECTROGRAM * sum(path.stat().st_size for path in sounds)


def _needed(rows: Sequence[Mapping[str, Any]], stored: float) -> float:
    """Estimate how many bytes of memory the training of the largest row needs on a CPU."""
    return PROCESS + stored + PIXEL * max(row["batch_size"] * row["size"] ** 2 for row in rows)


def _free_memory() -> float:
    return min(psutil.virtual_memory().available, memory_limit())


def usable_gpus(*, docker: bool) -> list[str]:
    """Return the GPUs that the stages can use, as `CUDA_VISIBLE_DEVICES` names them.

    Args:
        docker: Whether the stages run in their images, and not in this environment.
    """
    if image("training").endswith("-cpu") if docker else version("torch").endswith("+cpu"):
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        visible = ""
        with contextlib.suppress(OSError, subprocess.CalledProcessError):  # without a driver there is no GPU
            command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
            visible = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [name for name in visible.replace(",", " ").split() if name != "-1"]
