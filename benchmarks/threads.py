"""Two trainings of a demo member on two cores, compared with more threads than cores and with one training at a time.

If there are more threads than cores, the threads of one training wait for each other in a busy loop, which keeps the
core from the other training. These rows do not exist on a machine with a GPU.
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
STEPS = 30  # number of timed steps, after WARM_UP steps that are not timed
WARM_UP = 5
CONTEXT = multiprocessing.get_context("spawn")


def _train(
    threads: int, warm_up: int, steps: int, together: Barrier, rates: "multiprocessing.SimpleQueue[float]"
) -> None:
    os.sched_setaffinity(0, CORES)
    torch.set_num_threads(threads)
    run = run_of(DEMO[0])
    for _ in range(warm_up):
        run.train_step()
    together.wait()
    start = time.perf_counter()
    for _ in range(steps):
        run.train_step()
    rates.put(steps / (time.perf_counter() - start))


@cache
def _batches_per_second(trainings: int, threads: int) -> float:
    """Return the total batches per second of several trainings on two cores, with this many threads each."""
    together, rates = CONTEXT.Barrier(trainings), CONTEXT.SimpleQueue()
    processes = [
        CONTEXT.Process(target=_train, args=(threads, WARM_UP, STEPS, together, rates)) for _ in range(trainings)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return sum(rates.get() for _ in processes)


def side_by_side() -> Row:
    """Compare two trainings with one thread each to one training at a time with two threads."""
    return Row(_batches_per_second(2, 1), _batches_per_second(1, 2), "batches/s", "one at a time, two threads")


def too_many() -> Row:
    """Compare two trainings with one thread each to two trainings with two threads each."""
    return Row(_batches_per_second(2, 1), _batches_per_second(2, 2), "batches/s", "two at a time, two threads each")


ROWS: dict[str, Callable[[], Row]] = {}
if len(CORES) == 2 and not GPU:
    ROWS = {"side_by_side": side_by_side, "too_many": too_many}
