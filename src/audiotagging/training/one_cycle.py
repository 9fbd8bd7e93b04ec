"""The one-cycle schedule of learning rate and momentum (Smith 2018, arXiv:1803.09820), with cosines as in fastai 1."""

import math

RISE = 0.3  # share of the steps during which the learning rate rises
START_DIVISOR = 25.0
END_DIVISOR = 25e4
HIGH_MOMENTUM = 0.95
LOW_MOMENTUM = 0.85


def one_cycle(step: int, *, steps: int, lr: float) -> tuple[float, float]:
    """Compute the learning rate and momentum of a step.

    The learning rate rises from lr / 25 to lr during the first 30 % of the steps and then falls towards lr / 25e4.
    Momentum falls from 0.95 to 0.85 and rises again at the same time.

    Args:
        step: Index of the step in the cycle, starting at 0.
        steps: Number of steps in the cycle.
        lr: Highest learning rate.

    Returns:
        Learning rate and momentum.

    Examples:
        The cycle starts at a low learning rate and reaches the highest one after 30 % of its steps.

        >>> for step in (0, 300, 650):
        ...     lr, momentum = one_cycle(step, steps=1000, lr=0.01)
        ...     print(f"{lr:.4f} {momentum:.2f}")
        0.0004 0.95
        0.0100 0.85
        0.0050 0.90
    """
    rising = int(RISE * steps)
    if step < rising:
        share = step / rising
        return _cosine(lr / START_DIVISOR, lr, share), _cosine(HIGH_MOMENTUM, LOW_MOMENTUM, share)
    share = (step - rising) / (steps - rising)
    return _cosine(lr, lr / END_DIVISOR, share), _cosine(LOW_MOMENTUM, HIGH_MOMENTUM, share)


def _cosine(start: float, end: float, share: float) -> float:
    """Interpolate from `start` (share 0) to `end` (share 1) along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
