"""Losses against the formulas, written out output by output."""

import math

import pytest
import torch
from sklearn.metrics import fbeta_score

from audiotagging import members
from audiotagging.members import ENSEMBLES
from audiotagging.training.losses import LOSSES, bce, f2, focal, mixed_loss


def test_every_loss_can_be_named_on_the_command_line():
    assert set(members.LOSSES) == set(LOSSES)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    logits = 4 * torch.randn(6, 5, generator=generator)
    targets = (torch.rand(6, 5, generator=generator) < 0.3).float()
    partners = (torch.rand(6, 5, generator=generator) < 0.3).float()
    return logits, targets, partners, torch.rand(6, generator=generator) / 2


def probability_of_right_answer(logit, target):
    p = 1 / (1 + math.exp(-logit))
    return p if target else 1 - p


def test_bce_output_by_output(batch):
    logits, targets, *_ = batch
    expected = [
        100 * sum(-math.log(probability_of_right_answer(x, t)) for x, t in zip(xs, ts, strict=True)) / 5
        for xs, ts in zip(logits.tolist(), targets.tolist(), strict=True)
    ]
    assert bce(logits, targets).tolist() == pytest.approx(expected, rel=1e-5)


def test_focal_output_by_output(batch):
    logits, targets, *_ = batch
    expected = []
    for xs, ts in zip(logits.tolist(), targets.tolist(), strict=True):
        right = [probability_of_right_answer(x, t) for x, t in zip(xs, ts, strict=True)]
        expected.append(sum(-((1 - p) ** 2) * math.log(p) for p in right))
    assert focal(logits, targets).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_losses_stay_finite_far_out(loss):
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    values = loss(logits, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    values.sum().backward()
    assert values.isfinite().all() and logits.grad.isfinite().all()


def test_f2_equals_scikit_learn(batch):
    logits, targets, *_ = batch
    targets[0] = 0  # a crop without a label has F2 0
    expected = [
        fbeta_score(t, p, beta=2, zero_division=0)
        for t, p in zip(targets.numpy(), (logits.sigmoid() > 0.2).numpy(), strict=True)
    ]
    assert f2(logits, targets).tolist() == pytest.approx(expected)


def test_f2_of_a_mixture_counts_labels_by_their_share():
    # Both labels found, nothing else: precision (.3 + .7) / 2, recall 1.
    score = f2(torch.tensor([[3.0, 3.0, -3.0]]), torch.tensor([[0.3, 0.7, 0.0]]))
    assert score.item() == pytest.approx(5 * 0.5 * 1 / (4 * 0.5 + 1))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_every_crop_has_its_own_weight_in_the_mixture(loss, batch):
    logits, targets, partners, share = batch
    expected = 0.0
    for x, first, second, a in zip(logits, targets, partners, share, strict=True):
        own, other = loss(x[None], first[None]).item(), loss(x[None], second[None]).item()
        expected += (a.item() * own + (1 - a.item()) * other) / len(logits)
    actual = mixed_loss(loss, logits, targets, partners, share, f2cl=2.0)  # F2 is never 2: nothing is left out
    assert actual.item() == pytest.approx(expected, rel=1e-5)


def test_crops_that_are_right_already_are_left_out():
    logits = torch.tensor([[5.0, -5.0], [-5.0, -5.0]], requires_grad=True)
    targets = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    share = torch.tensor([0.5, 0.5])
    loss = mixed_loss(bce, logits, targets, targets, share, f2cl=1.0)
    assert loss.item() == pytest.approx(bce(logits, targets)[1].item())
    loss.backward()
    assert not logits.grad[0].any()


def f2_of(logits, targets):
    """The F2 score of a crop, output by output."""
    predicted = [1 / (1 + math.exp(-logit)) > 0.2 for logit in logits]
    hits = sum(target for target, is_predicted in zip(targets, predicted, strict=True) if is_predicted)
    return 5 * hits / (4 * sum(targets) + sum(predicted))


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_a_crop_is_left_out_by_its_f2_against_the_mixed_targets(threshold):
    generator = torch.Generator().manual_seed(2)
    logits = 3 * torch.randn(40, 5, generator=generator)
    targets, partners = (
        torch.nn.functional.one_hot(torch.randint(5, (40,), generator=generator), 5).float() for _ in "ab"
    )
    share = torch.rand(40, generator=generator) / 2
    mixed = [
        [a * x + (1 - a) * y for x, y in zip(xs, ys, strict=True)]
        for xs, ys, a in zip(targets.tolist(), partners.tolist(), share.tolist(), strict=True)
    ]
    kept = [f2_of(row, target) < threshold for row, target in zip(logits.tolist(), mixed, strict=True)]
    assert 5 < sum(kept) < 35
    losses = [
        a * bce(x[None], t[None]).item() + (1 - a) * bce(x[None], p[None]).item()
        for x, t, p, a in zip(logits, targets, partners, share.tolist(), strict=True)
    ]
    expected = sum(loss for loss, is_kept in zip(losses, kept, strict=True) if is_kept) / sum(kept)
    assert mixed_loss(bce, logits, targets, partners, share, f2cl=threshold).item() == pytest.approx(expected, rel=1e-5)


def test_loss_is_zero_when_every_crop_is_left_out():
    logits = torch.tensor([[5.0, -5.0]])
    targets = torch.tensor([[1.0, 0.0]])
    assert mixed_loss(focal, logits, targets, targets, torch.tensor([0.5]), f2cl=1.0).item() == 0


def test_every_member_names_a_loss():
    assert {member.loss for ensemble in ENSEMBLES.values() for member in ensemble} <= set(LOSSES)
