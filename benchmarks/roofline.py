"""Estimates from counted work how long the reference members train on a GPU, and prints the tables of docs/scale.md.

    python -m benchmarks.roofline

Every operation of a training step is counted, with tensors that have shapes but no values: its floating-point
operations by `torch.utils.flop_counter`, and the bytes that it reads and writes. It takes as long as the slower of the
two on a GPU (the roofline of S. Williams, A. Waterman and D. Patterson, 2009, doi:10.1145/1498765.1498785), and the
step as long as all its operations, but at least as long as the CPU takes to launch them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from audiotagging.artifacts.mels import MELS
from audiotagging.members import REFERENCE, Member
from audiotagging.training.augmentation import VIEWS, augment, mixup
from audiotagging.training.losses import LOSSES, mixed_loss
from audiotagging.training.networks import NETWORKS

CLASSES = 80
COMPUTE, MEMORY = 0.5, 0.8  # the shares of the peaks that operations reach
LAUNCH = 8e-6  # seconds of the CPU for an operation and its part of autograd
OPTIMISER = (
    28  # bytes for a weight in a step of AdamW: weight, gradient and two moments read, all but the gradient written
)


@dataclass(frozen=True)
class Gpu:
    """The peaks of a GPU.

    Attributes:
        bfloat16: Floating-point operations per second with dense matrices, or None if it has none in hardware.
        float32: The same in TensorFloat-32 where there is that, as `devices.allow_tf32` allows, otherwise in float32.
        bandwidth: Bytes per second to and from its memory.
    """

    bfloat16: float | None
    float32: float
    bandwidth: float


# From NVIDIA's data sheets, which docs/scale.md names.
GPUS = {
    "H100": Gpu(bfloat16=989e12, float32=495e12, bandwidth=3.35e12),
    "A100": Gpu(bfloat16=312e12, float32=156e12, bandwidth=2.04e12),
    "L4": Gpu(bfloat16=121e12, float32=60e12, bandwidth=0.3e12),
    "T4": Gpu(bfloat16=None, float32=8.1e12, bandwidth=0.32e12),
}
V100 = Gpu(bfloat16=125e12, float32=15.7e12, bandwidth=0.9e12)  # its 16 bits are float16
# Pictures per second of training ResNet-50 with 224 pixels and batches of 256, which NVIDIA measured: docs/scale.md.
MEASURED = {
    ("A100, 16 bits", GPUS["A100"], True): 2470,
    ("A100, TensorFloat-32", GPUS["A100"], False): 938,
    ("V100, 16 bits", V100, True): 1200,
    ("V100, float32", V100, False): 367,
}


@dataclass
class Work(TorchDispatchMode):
    """Counts the operations while it is active.

    Attributes:
        done: Of each operation the floating-point operations, whether they are in bfloat16, and the bytes.
    """

    done: list[tuple[float, bool, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin without an operation."""
        super().__init__()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count an operation, unless it only looks at a tensor in another way."""
        found = operation(*args, **(kwargs or {}))
        given, made = ([each for each in tree_leaves(some) if isinstance(each, Tensor)] for some in (args, found))
        if not operation.is_view and not operation.__name__.startswith(("empty", "detach")) and made:
            count = flop_registry.get(operation.overloadpacket)
            flops = count(*args, **(kwargs or {}), out_val=found) if count else 0
            halves = any(each.dtype == torch.bfloat16 for each in given)
            self.done.append((flops, halves, sum(each.numel() * each.element_size() for each in [*given, *made])))
        return found

    def seconds(self, gpu: Gpu) -> float:
        """Return how long a GPU takes for what was counted."""
        peaks = {False: gpu.float32, True: gpu.bfloat16 or gpu.float32}
        busy = sum(
            max(flops / peaks[halves] / COMPUTE, moved / gpu.bandwidth / MEMORY) for flops, halves, moved in self.done
        )
        return max(busy, len(self.done) * LAUNCH)


@cache
def training_step(member: Member, *, bfloat16: bool) -> Work:
    """Count a training step: its batch, forward and backward pass, and the optimiser."""
    crops = torch.empty(member.batch_size, member.frames, MELS, dtype=torch.uint8, device="meta")
    views = torch.empty(member.batch_size, dtype=torch.int64, device="meta")
    augment(crops, views, size=member.size)  # computes what is kept for all later batches
    work = Work()
    with work:
        mixup(augment(crops, views, size=member.size))
    with FakeTensorMode():
        network = NETWORKS[member.network](VIEWS * CLASSES)
        pictures = torch.empty(member.batch_size, 3, member.size, member.size)
        targets, share = torch.empty(member.batch_size, VIEWS * CLASSES), torch.empty(member.batch_size)
        with work:
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                logits = network(pictures)
            mixed_loss(LOSSES[member.loss], logits, targets, targets, share, f2cl=member.f2cl).backward()
    weights = sum(weight.numel() for weight in network.parameters())
    work.done.append((0, False, OPTIMISER * weights))
    return work


def hours(member: Member, gpu: Gpu) -> float:
    """Return the hours that a GPU takes for the whole training of a member, without validation."""
    steps = member.cycles * member.epochs * member.epoch_size
    return steps * training_step(member, bfloat16=gpu.bfloat16 is not None).seconds(gpu) / 3600


def member_row(member: Member) -> str:
    """Return the row of a member: what is counted of a crop, the launches of a step, and the hours on every GPU."""
    done = training_step(member, bfloat16=True).done
    flops, moved = (sum(column) / member.batch_size for column in (list(zip(*done, strict=True))[0::2]))
    launches = f"{len(done)} ({1000 * len(done) * LAUNCH:.1f} ms)"
    times = [f"{hours(member, gpu):.2g}" for gpu in GPUS.values()]
    return _row(f"`{member.id}`", f"{flops / 1e9:.1f}", f"{moved / 1e6:.0f}", launches, *times)


def table() -> Iterator[str]:
    """Yield the lines of the table of all members."""
    yield _row("member", "GFLOP a crop", "MB a crop", "operations a step", *(f"{name}, h" for name in GPUS))
    yield "|---" * (4 + len(GPUS)) + "|"
    yield from map(member_row, REFERENCE)
    yield _row("all", "", "", "", *(f"{sum(hours(each, gpu) for each in REFERENCE):.2g}" for gpu in GPUS.values()))


def check() -> Iterator[str]:
    """Yield the lines of the table that compares the estimates with what was measured."""
    yield _row("ResNet-50, pictures/s", "measured", "estimated", "ratio")
    yield "|---" * 4 + "|"
    member = replace(REFERENCE[-1], size=224, batch_size=256)
    for (name, gpu, bfloat16), measured in MEASURED.items():
        estimated = member.batch_size / training_step(member, bfloat16=bfloat16).seconds(gpu)
        yield _row(name, measured, f"{estimated:.0f}", f"{estimated / measured:.2f}")


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    print(*table(), "", *check(), sep="\n")
