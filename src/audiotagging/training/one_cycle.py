"""The one-cycle schedule of learning rate and momentum (Smith 2018, arXiv:1803.09820; cosines as in fastai 1)."""

import math

RISE = 0.3  # share of the steps in which the learning rate rises
START_DIVISOR = 25.0
END_DIVISOR = 25e4
HIGH_MOMENTUM = 0.95
LOW_MOMENTUM = 0.85


def one_cycle(step: int, *, steps: int, lr: float) -> tuple[float, float]:
    """Return learning rate and momentum of a step.

    The rate rises from lr / 25 to lr in the first 30 % of the steps and then falls to lr / 25e4, while momentum goes
    from .95 to .85 and back.

    Args:
        step: Number of the step in the cycle, from 0.
        steps: Steps of the cycle.
        lr: Highest learning rate.
    """
    rising = int(RISE * steps)
    if step < rising:
        share = step / rising
        return _cosine(lr / START_DIVISOR, lr, share), _cosine(HIGH_MOMENTUM, LOW_MOMENTUM, share)
    share = (step - rising) / (steps - rising)
    return _cosine(lr, lr / END_DIVISOR, share), _cosine(LOW_MOMENTUM, HIGH_MOMENTUM, share)


def _cosine(start: float, end: float, share: float) -> float:
    """Go from `start` to `end` along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
