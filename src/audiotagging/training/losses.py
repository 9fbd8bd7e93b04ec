"""The losses. Each takes logits and targets (batch, outputs) and returns one loss per crop, shape (batch,)."""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

FOCAL_GAMMA = 2.0
F2_THRESHOLD = 0.2

Loss = Callable[[Tensor, Tensor], Tensor]


def bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute 100 times the binary cross-entropy, averaged over the outputs."""
    return 100 * binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute the focal loss (Lin et al. 2017, arXiv:1708.02002) with gamma 2, summed over the outputs.

    The targets must be 0 or 1.
    """
    entropy = binary_cross_entropy_with_logits(logits, targets, reduction="none")
    log_wrong = logsigmoid(-logits * (2 * targets - 1))  # log of the probability given to the wrong answer
    return (entropy * (FOCAL_GAMMA * log_wrong).exp()).sum(dim=1)


LOSSES: dict[str, Loss] = {"bce": bce, "focal": focal}


def f2(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute the F2 score of every crop, shape (batch,).

    Outputs with a probability above 0.2 count as predicted. Targets may be fractions, as those of mixtures are.
    """
    predicted = (logits.sigmoid() > F2_THRESHOLD).float()
    hits = (predicted * targets).sum(dim=1)
    # F2 = 5 hits / (4 true + predicted), and 0 if the denominator is 0.
    return 5 * hits / (4 * targets.sum(dim=1) + predicted.sum(dim=1)).clamp(min=1e-9)


def mixed_loss(loss: Loss, logits: Tensor, targets: Tensor, partners: Tensor, share: Tensor, *, f2cl: float) -> Tensor:
    """Compute the mean loss of a mixup batch.

    Args:
        loss: One of `LOSSES`.
        logits: float32, shape (batch, outputs).
        targets: Targets of each crop, shape (batch, outputs).
        partners: Targets of the crop that each crop was mixed with, shape (batch, outputs).
        share: Share of each crop in its mixture, shape (batch,).
        f2cl: Only crops whose F2 score against the mixed targets is below this value count towards the mean.

    Returns:
        A scalar, which is 0 if no crop counts.
    """
    losses = share * loss(logits, targets) + (1 - share) * loss(logits, partners)
    kept = f2(logits.detach(), partners.lerp(targets, share[:, None])) < f2cl
    return (losses * kept).sum() / kept.sum().clamp(min=1)
