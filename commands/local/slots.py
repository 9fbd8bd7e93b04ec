"""How many members train side by side on this machine, and the threads and the GPU that each gets.

Where there are GPUs, one member trains on each. On a CPU many members with few threads each train faster than one
after the other with all threads, as long as there are not more threads than cores: their threads would wait for each
other (see the rows of `threads` in `make bench`).
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

from audiotagging.machine import memory_limit, threads
from components.images import image

# Memory of a training on a CPU, in bytes, as measured with the largest network, xresnet50.
PROCESS = 1.6 * 2**30  # Python, torch, weights and their moments
PIXEL = 2000  # activations, for each pixel of a batch
SPECTROGRAM = 0.1  # of the bytes of the sounds, as 16-bit samples


@dataclass(frozen=True)
class Slots:
    """The environment variables of what runs at once.

    Attributes:
        alone: Of a stage that runs alone.
        rows: Of each row of the loop that runs beside the others.
    """

    alone: Mapping[str, str]
    rows: Sequence[Mapping[str, str]]

    def __str__(self) -> str:
        """Return how it is divided, for the reader."""
        first = self.rows[0]
        where = "on GPUs" if "CUDA_VISIBLE_DEVICES" in first else "on the CPU"
        return f"members that train at once: {len(self.rows)} {where}; threads of each: {first['OMP_NUM_THREADS']}"


def divide(
    rows: Sequence[Mapping[str, Any]], sounds: Iterable[Path], *, parallel: int | None, gpus: Sequence[str]
) -> Slots:
    """Divide this machine among the members that train at once.

    Args:
        rows: The rows to train.
        sounds: The files whose spectrograms every member holds in memory.
        parallel: How many rows to train at once; as many as fit where None.
        gpus: The GPUs that may be used.
    """
    cores = threads()
    if parallel is None:
        parallel = len(gpus) or min(cores, int(_free_memory() // _needed(rows, sounds)))
    parallel = max(1, min(parallel, len(rows)))
    slots: list[dict[str, str]] = [{"OMP_NUM_THREADS": str(max(1, cores // parallel))} for _ in range(parallel)]
    for number, slot in enumerate(slots if gpus else []):
        slot["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    return Slots({"OMP_NUM_THREADS": str(cores)}, slots)


def _needed(rows: Sequence[Mapping[str, Any]], sounds: Iterable[Path]) -> float:
    """Return about how many bytes of memory the training of the largest row takes on a CPU."""
    stored = SPECTROGRAM * sum(path.stat().st_size for path in sounds)
    return PROCESS + stored + PIXEL * max(row["batch_size"] * row["size"] ** 2 for row in rows)


def _free_memory() -> float:
    return min(psutil.virtual_memory().available, memory_limit())


def usable_gpus(*, docker: bool) -> list[str]:
    """Return the GPUs that the stages can use, as `CUDA_VISIBLE_DEVICES` names them.

    Args:
        docker: Whether the stages run in their images, and not with the torch of this environment.
    """
    if image("training").endswith("-cpu") if docker else version("torch").endswith("+cpu"):
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        visible = ""
        with contextlib.suppress(OSError, subprocess.CalledProcessError):  # no driver, no GPU
            command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
            visible = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [name for name in visible.replace(",", " ").split() if name != "-1"]
