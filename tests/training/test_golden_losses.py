"""Ten steps of training each full-size network: those of a plain loop, with the losses that they always had."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.slow import slow_but
from helpers.tiny_training import TINY, start, write_shards

from audiotagging.artifacts.spectrogram_shards import read_spectrograms
from audiotagging.training.networks import NETWORKS
from audiotagging.training.one_cycle import one_cycle

GOLDEN = json.loads((Path(__file__).parent.parent / "reference" / "losses.json").read_text())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return read_spectrograms(write_shards(tmp_path_factory.mktemp("data") / "spectrograms"), parts=["curated", "noisy"])


def adamw_step(parameter, moments, *, lr, momentum, step):
    """Update a parameter as AdamW does (Loshchilov and Hutter 2019), with the momentum of this step."""
    first, second = moments
    first.mul_(momentum).add_(parameter.grad * (1 - momentum))
    second.mul_(0.99).add_(parameter.grad**2 * 0.01)
    parameter.mul_(1 - lr * 0.01)
    parameter -= lr * (first / (1 - momentum**step)) / ((second / (1 - 0.99**step)).sqrt() + 1e-8)


def doubled(run):
    """Return the run in float64, in which rounding does not grow within a few steps to what a mistake would change."""
    run.network.double()
    batch = run.batch
    run.batch = lambda: tuple(tensor.double() for tensor in batch())
    run.losses = run.losses.double()
    return run


@pytest.mark.parametrize("name", slow_but(NETWORKS, "xresnet18ssa"))
def test_ten_steps_equal_a_plain_loop_and_the_golden_losses(name, data):
    """The golden losses hold everything else still: a change that changes no result leaves them as they are."""
    member = replace(TINY, network=name, loss="bce", epochs=1, cycles=1, epoch_size=10, batch_size=8, f2cl=2)
    run = doubled(start(member, data))
    plain = doubled(start(member, data)).network.to(memory_format=torch.contiguous_format).train()
    slow = set(plain.body.parameters()) if name in ("xresnet34", "xresnet50") else set()
    moments = {p: (torch.zeros_like(p), torch.zeros_like(p)) for p in plain.parameters()}
    losses = []
    for step in range(10):
        before = torch.get_rng_state()
        pictures, targets, partners, share = run.batch()
        logits = plain(pictures.contiguous())  # the same dropout, too
        mixed = share[:, None] * targets + (1 - share[:, None]) * partners
        loss = 100 * torch.nn.functional.binary_cross_entropy_with_logits(logits, mixed)
        plain.zero_grad()
        loss.backward()
        lr, momentum = one_cycle(step, steps=10, lr=member.lr)
        with torch.no_grad():
            for parameter in plain.parameters():
                own_lr = lr / 10 if parameter in slow else lr
                adamw_step(parameter, moments[parameter], lr=own_lr, momentum=momentum, step=step + 1)
        losses.append(loss.item())
        torch.set_rng_state(before)
        run.train_step()
    assert run.losses.tolist() == pytest.approx(losses, rel=1e-6)
    assert losses == pytest.approx(GOLDEN.get(name), rel=1e-3)
