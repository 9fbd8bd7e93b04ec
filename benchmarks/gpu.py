"""Measures on a GPU how the reference members train, in at most eight minutes, and prints Markdown for RESULTS.md.

    PYTHONPATH=src python -m benchmarks.gpu

needs torch, numpy, pandas and pyarrow alone. Every part is a process of its own, which ends when its time is up: what
it has measured until then is printed, and so is why it ended if it failed. On a machine without a GPU the parts measure
the CPU, and leave out what only a GPU has.
"""

import argparse
import importlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from unittest.mock import MagicMock

import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

# The library imports them, but nothing that is measured here uses them.
_absent = []
for _name in ("safetensors", "safetensors.torch", "tqdm"):
    try:
        importlib.import_module(_name)
    except ModuleNotFoundError:
        sys.modules[_name] = MagicMock()
        _absent.append(_name)

from audiotagging.members import REFERENCE, Member  # noqa: E402
from audiotagging.training import batches  # noqa: E402
from audiotagging.training.checkpoints import Checkpoints  # noqa: E402
from audiotagging.training.devices import autocast, device_name  # noqa: E402
from audiotagging.training.loop import TrainingRun  # noqa: E402
from audiotagging.training.losses import LOSSES, mixed_loss  # noqa: E402
from benchmarks.training import DEVICE, GPU, random_clips, run_of  # noqa: E402

for _name in _absent:  # torch looks for some of them
    del sys.modules[_name]

MEMBERS = REFERENCE
WARM_UP, STEPS = 12, 40  # steps before and while speed is measured
PROFILED = 10  # steps
KERNELS = 12  # rows of the table of kernels
COMPILER = "inductor"
# A run whose batches and weights are compared: small enough for the CPU beside it.
SMALL = replace(REFERENCE[0], size=64, batch_size=16, epochs=3, epoch_size=10)
LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx", "cudaGraphLaunch")
WAITS = ("cudaDeviceSynchronize", "cudaStreamSynchronize", "cudaEventSynchronize")
SHOWN = (1, 2, 5, 10, 20)  # steps of the curves

Batch = tuple[Tensor, Tensor, Tensor, Tensor]
Rows = Iterator[Sequence[object]]  # of a table, the first of which is its heading


def synchronise() -> None:
    """Wait until the device has finished."""
    if GPU:
        torch.cuda.synchronize()


def seconds(step: Callable[[], object], steps: int) -> float:
    """Return the seconds that a step takes, after some that are not measured."""
    for _ in range(WARM_UP):
        step()
    synchronise()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    synchronise()
    return (time.perf_counter() - started) / steps


class GraphedRun(TrainingRun):
    """A training whose forward and backward pass are a CUDA graph; batches and the optimiser are as before."""

    def capture(self) -> None:
        """Record the graph, after a few steps on a stream of its own, as torch's documentation says."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                super().train_step()
        torch.cuda.current_stream().wait_stream(stream)
        self.inputs = self.batch()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            pictures, targets, partners, share = self.inputs
            with autocast(self.device, self.precision):
                logits = self.network(pictures)
            loss = LOSSES[self.member.loss]
            mixed_loss(loss, logits, targets, partners, share, f2cl=self.member.f2cl).backward()

    def train_step(self) -> None:
        """Train on one batch."""
        for kept, fresh in zip(self.inputs, self.batch(), strict=True):
            kept.copy_(fresh)
        self.graph.replay()
        self.optimiser.step()


def rates(kind: str, start: Callable[[Member], TrainingRun]) -> Rows:
    """Measure the crops per second of every member, the hours of its whole training, and the peak memory."""
    yield "member", f"crops/s {kind}", "hours", "peak memory, GB"
    hours = 0.0
    for member in MEMBERS:
        if GPU:
            torch.cuda.reset_peak_memory_stats()
        rate = member.batch_size / seconds(start(member).train_step, STEPS)
        took = member.cycles * member.epochs * member.epoch_size * member.batch_size / rate / 3600
        hours += took
        yield member.id, f"{rate:.4g}", f"{took:.3g}", f"{torch.cuda.max_memory_allocated() / 1e9:.2f}" if GPU else "-"
    yield "all, one after the other", "", f"{hours:.3g}", ""


def eager() -> Rows:
    """Measure the speed of training as it is."""
    return rates("eager", run_of)


def compiled() -> Rows:
    """Measure it with a network that `torch.compile` has compiled."""

    def start(member: Member) -> TrainingRun:
        torch.compiler.reset()
        run = run_of(member)
        run.network.compile(backend=COMPILER)
        return run

    return rates("compiled", start)


def graphed() -> Rows:
    """Measure it with CUDA graphs."""

    def start(member: Member) -> TrainingRun:
        torch.manual_seed(1)
        run = GraphedRun(member, random_clips(), fold=-1, device=DEVICE, precision="auto")
        run.capture()
        return run

    return rates("with CUDA graphs", start) if GPU else iter([("needs a GPU",)])


def profiled() -> Rows:
    """Profile training steps of the first member: time of the GPU and of making batches, launches, slowest kernels."""
    run = run_of(MEMBERS[0])
    step, batch = (1000 * seconds(call, STEPS) for call in (run.train_step, run.batch))
    with profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * GPU]) as found:
        for _ in range(PROFILED):
            run.train_step()
        synchronise()
    device = DeviceType.CUDA if GPU else DeviceType.CPU
    names = Counter(event.name for event in found.events())
    averages = [each for each in found.key_averages() if each.device_type == device and not each.is_user_annotation]
    spent = {each.key: each.self_device_time_total if GPU else each.self_cpu_time_total for each in averages}
    busy = sum(spent.values()) / PROFILED / 1000
    yield "of a step", "ms", "number"
    yield "whole step", f"{step:.2f}", ""
    yield "making its batch, alone", f"{batch:.2f}", ""
    yield "device busy", f"{busy:.2f}", f"{sum(each.count for each in averages) / PROFILED:.0f}"
    yield "launches", "", f"{sum(names[name] for name in LAUNCHES) / PROFILED:.1f}"
    yield "waits of the CPU for the GPU", "", f"{sum(names[name] for name in WAITS) / PROFILED:.1f}"
    counts = {each.key: each.count for each in averages}
    for name in sorted(spent, key=lambda name: -spent[name])[:KERNELS]:
        yield f"`{name[:80]}`", f"{spent[name] / PROFILED / 1000:.3f}", f"{counts[name] / PROFILED:.1f}"


def stored() -> Rows:
    """Measure training with the spectrograms on the GPU and on the host, and compare the crops."""
    yield "spectrograms", "batch, ms", "step, ms", "crops equal"
    first: Tensor | None = None
    for home, share in {"on the GPU": batches.GPU_SHARE, "pinned on the host": 0.0}.items():
        if share == 0 and not GPU:
            continue
        batches.GPU_SHARE = share
        run = run_of(MEMBERS[0])
        clips = torch.arange(len(run.data.store.lengths))
        crops = run.data.store.crops(clips, clips % 100, frames=run.member.frames).cpu()
        first = crops if first is None else first
        batch, step = (1000 * seconds(call, STEPS) for call in (run.batch, run.train_step))
        yield home if GPU else "in memory", f"{batch:.2f}", f"{step:.2f}", "yes" if torch.equal(first, crops) else "NO"


def resumed() -> Rows:
    """Compare the weights of a run that was killed and resumed with those of runs that were not."""
    yield "kernels", "largest weight", "difference of a second run", "of a killed and resumed run"
    for name in ("as in training", "deterministic"):
        torch.use_deterministic_algorithms(name == "deterministic", warn_only=True)
        whole, again = (_trained_weights(killed=False) for _ in range(2))
        differences = [(whole - other).abs().max() for other in (again, _trained_weights(killed=True))]
        yield name, f"{whole.abs().max():.3g}", *(f"{difference:.3g}" for difference in differences)


def _trained_weights(*, killed: bool) -> Tensor:
    """Return all weights of the small member after its training, which may have been killed in the middle."""
    run = _small_run()
    for _ in range(run.steps // 2):
        run.train_step()
    if killed:
        with tempfile.TemporaryDirectory() as folder:
            kept = Checkpoints(folder, identity={})
            kept.write(run.step, run.state())
            run, state = _small_run(seed=2), kept.latest()
            assert state is not None
            run.load_state(state)
    for _ in range(run.step, run.steps):
        run.train_step()
    return torch.cat([tensor.detach().flatten().double().cpu() for tensor in run.network.state_dict().values()])


def _small_run(*, seed: int = 1, device: torch.device = DEVICE, precision: str = "auto") -> TrainingRun:
    torch.manual_seed(seed)
    run = TrainingRun(SMALL, random_clips(), fold=-1, device=device, precision=precision)
    if torch.are_deterministic_algorithms_enabled():
        torch.backends.cudnn.benchmark = False
    return run


def curves() -> Rows:
    """Compare the losses on the same batches with those of the CPU."""
    kinds = [("cpu", "float32"), (DEVICE.type, "float32"), (DEVICE.type, "auto")]
    source = _small_run(device=torch.device("cpu"))
    drawn = [source.batch() for _ in range(source.steps)]
    losses = [_losses(drawn, device=torch.device(device), precision=precision) for device, precision in kinds]
    yield "step", *(f"{device}, {precision}" for device, precision in kinds)
    for step in range(len(drawn)):
        if step + 1 in SHOWN or step + 1 == len(drawn):
            yield step + 1, *(f"{found[step]:.5g}" for found in losses)


def _losses(drawn: Sequence[Batch], *, device: torch.device, precision: str) -> list[float]:
    """Train the small member on batches that were drawn before, and return the loss of each."""
    run, found = _small_run(device=device, precision=precision), []
    moved = [tuple(each.to(device) for each in batch) for batch in drawn]
    run.batch = lambda: moved[run.step]  # type: ignore[method-assign, assignment, return-value]
    for step in range(run.steps):
        run.train_step()
        found.append(run.losses[step % run.member.epoch_size].item())
    return found


PARTS: dict[str, tuple[Callable[[], Rows], int]] = {  # with the seconds that each may take
    "eager": (eager, 70),
    "graphed": (graphed, 70),
    "profiled": (profiled, 40),
    "stored": (stored, 40),
    "resumed": (resumed, 50),
    "curves": (curves, 50),
    "compiled": (compiled, 150),
}


def print_rows(rows: Rows) -> None:
    """Print a table in Markdown, every row as soon as it is known."""
    for number, row in enumerate(rows):
        print("|", " | ".join(map(str, row)), "|", flush=True)
        if number == 0:
            print("|---" * len(row) + "|", flush=True)


def run_part(command: Sequence[str], limit: float) -> str:
    """Run a part in a process of its own, which prints its rows, and return why it failed, or nothing."""
    try:
        done = subprocess.run(command, timeout=limit, check=False, stderr=subprocess.PIPE, text=True)
    except subprocess.TimeoutExpired:
        return f"stopped after {limit:.0f} s"
    last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    return f"failed: {last[0]}" if done.returncode else ""


def main() -> None:
    """Run all parts, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"parts to run: {', '.join(PARTS)}")
    parser.add_argument("--part", choices=PARTS, help="print the rows of one part, without a limit of its time")
    args = parser.parse_args()
    if args.part:
        print_rows(PARTS[args.part][0]())
        return
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"expected parts out of {', '.join(PARTS)}, found {', '.join(unknown)}")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic matrix products need
    versions = f"torch {torch.__version__}, CUDA {torch.version.cuda}, Python {platform.python_version()}"
    print("# Training on a GPU\n")
    print(f"`python -m benchmarks.gpu` on {date.today():%d %B %Y}, {device_name(DEVICE)}, {versions}.")
    for name in args.parts or PARTS:
        part, limit = PARTS[name]
        print(f"\n{part.__doc__}\n", flush=True)
        if problem := run_part([sys.executable, "-m", "benchmarks.gpu", "--part", name], limit):
            print(f"\n{problem}", flush=True)


if __name__ == "__main__":
    main()
