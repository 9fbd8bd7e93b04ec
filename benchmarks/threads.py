"""Trainings of a demo member that share two cores: as many threads as cores, against more, and against one at a time.

Where there are more threads than cores, those of one training wait for each other without giving the core to the
other. There are no such rows on a machine with a GPU.
"""

import multiprocessing
import os
import time
from collections.abc import Callable
from functools import cache
from multiprocessing.synchronize import Barrier

import torch

from audiotagging.members import DEMO
from benchmarks.frame import Row
from benchmarks.training import GPU, run_of

CORES = sorted(os.sched_getaffinity(0))[:2] if hasattr(os, "sched_getaffinity") else []
STEPS = 30  # that are timed, after WARM_UP others
WARM_UP = 5
CONTEXT = multiprocessing.get_context("spawn")


def _train(threads: int, together: Barrier, rates: "multiprocessing.SimpleQueue[float]") -> None:
    os.sched_setaffinity(0, CORES)
    torch.set_num_threads(threads)
    run = run_of(DEMO[0])
    for _ in range(WARM_UP):
        run.train_step()
    together.wait()
    start = time.perf_counter()
    for _ in range(STEPS):
        run.train_step()
    rates.put(STEPS / (time.perf_counter() - start))


@cache
def _batches_a_second(trainings: int, threads: int) -> float:
    """Return how many batches a second all trainings together make on two cores, with so many threads each."""
    together, rates = CONTEXT.Barrier(trainings), CONTEXT.SimpleQueue()
    processes = [CONTEXT.Process(target=_train, args=(threads, together, rates)) for _ in range(trainings)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return sum(rates.get() for _ in processes)


def side_by_side() -> Row:
    """Compare two trainings with a thread each with one at a time that has two."""
    return Row(_batches_a_second(2, 1), _batches_a_second(1, 2), "batches/s", "one at a time, two threads")


def too_many() -> Row:
    """Compare two trainings with a thread each with two that have two each, twice as many as there are cores."""
    return Row(_batches_a_second(2, 1), _batches_a_second(2, 2), "batches/s", "two at a time, two threads each")


ROWS: dict[str, Callable[[], Row]] = {}
if len(CORES) == 2 and not GPU:
    ROWS = {"side_by_side": side_by_side, "too_many": too_many}
