"""What is counted of a training step, and that the tables of docs/scale.md are what the counts give."""

import pytest
import torch
from helpers.modules import ROOT
from helpers.slow import slow_but
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from audiotagging.members import REFERENCE
from benchmarks import roofline
from benchmarks.roofline import COMPUTE, LAUNCH, MEMORY, Gpu, Work

PAGE = (ROOT / "docs" / "scale.md").read_text().splitlines()
BATCH, INPUTS, OUTPUTS, SIZE = 2, 3, 8, 16


def counted(*, bfloat16):
    """Count a convolution, and a multiplication of what it returns."""
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    with FakeTensorMode(), torch.no_grad():
        convolution = nn.Conv2d(INPUTS, OUTPUTS, 3, padding=1, bias=False, dtype=dtype)
        pictures = torch.empty(BATCH, INPUTS, SIZE, SIZE, dtype=dtype)
        with Work() as work:
            convolution(pictures).mul(2).view(-1)
    return work


@pytest.mark.parametrize("bfloat16, size", [(False, 4), (True, 2)])
def test_operations_and_bytes_are_those_of_the_formulas(bfloat16, size):
    """A multiplication and an addition for every pixel, output, input and place of a window; a view takes nothing."""
    pixels = BATCH * SIZE * SIZE
    read, made = (INPUTS * pixels + 9 * INPUTS * OUTPUTS) * size, OUTPUTS * pixels * size
    flops = 2 * 9 * INPUTS * OUTPUTS * pixels
    assert counted(bfloat16=bfloat16).done == [(flops, bfloat16, read + made), (0, bfloat16, 2 * made)]


def test_a_step_takes_as_long_as_what_limits_it():
    work = counted(bfloat16=True)
    (flops, _, moved), (_, _, multiplied) = work.done
    slow = {"bfloat16": 1e6, "float32": 2e6, "bandwidth": 1e6}
    assert work.seconds(Gpu(**slow | {"bandwidth": 1e15})) == pytest.approx(flops / 1e6 / COMPUTE, rel=1e-6)
    assert work.seconds(Gpu(**slow | {"bandwidth": 1e15, "bfloat16": None})) == pytest.approx(
        flops / 2e6 / COMPUTE, rel=1e-6
    )
    fast = {"bfloat16": 1e15, "float32": 1e15}
    assert work.seconds(Gpu(**fast, bandwidth=1e6)) == pytest.approx((moved + multiplied) / 1e6 / MEMORY)
    assert work.seconds(Gpu(**fast, bandwidth=1e15)) == 2 * LAUNCH


@pytest.mark.parametrize("member", slow_but(REFERENCE, REFERENCE[0]), ids=lambda member: member.id)
def test_the_page_has_the_row_of_every_member(member):
    assert roofline.member_row(member) in PAGE, "run `python -m benchmarks.roofline`, and paste what it prints"


@pytest.mark.slow
def test_the_page_has_the_other_rows():
    assert set(roofline.table()) | set(roofline.check()) <= set(PAGE)


def test_the_page_names_the_peaks():
    for name, gpu in roofline.GPUS.items():
        [row] = [line for line in PAGE if line.startswith(f"| {name} ") and "nvidia.com" in line]
        cells = [cell.strip() for cell in row.split("|")[2:5]]
        peaks = [gpu.bfloat16 and gpu.bfloat16 / 1e12, gpu.float32 / 1e12, gpu.bandwidth / 1e9]
        assert cells == ["-" if peak is None else f"{peak:g}" for peak in peaks]
