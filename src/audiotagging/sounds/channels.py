"""Mixes the channels of a recording to one: their mean, unless a channel is dead or they cancel.

A microphone that is wired the wrong way round makes the right channel the negative of the left one, and their mean
silent. A cable that is broken makes a channel silent, and the mean half as loud.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

DEAD = 1e-6  # of the variance of the loudest channel, -60 dB
# Of the variance that the mean of independent channels would have, -17 dB. Two equally loud channels cancel from a
# correlation of -.98 on.
CANCELLED = 0.02
ALIKE = 0.99  # variances that count as equal: rounding makes a channel and its negative differ
SEGMENT = 1 << 15  # samples that are measured at once
SHORTEST = 1000  # samples; a few of any two sounds can be opposite by chance
QUIETEST = 1e-8  # variance of the loudest channel, -80 dB; below, rounding decides what the others are


class Mix(NamedTuple):
    """The channels whose mean is used.

    Attributes:
        channels: Their numbers, from 0.
        note: What was not used and why. "" if all are used.
    """

    channels: tuple[int, ...]
    note: str = ""


class ChannelMeter:
    """Measures the channels of a recording, block by block."""

    def __init__(self, channels: int) -> None:
        self._channels, self._count = channels, 0
        self._products = np.zeros((channels, channels))  # of the channels without their means, by pair

    def add(self, samples: np.ndarray) -> None:
        """Add samples, float32, shape (samples, channels)."""
        if self._channels == 1:
            return
        self._count += len(samples)
        for start in range(0, len(samples), SEGMENT):
            segment = samples[start : start + SEGMENT].T.copy()  # (channels, samples)
            segment -= segment.mean(axis=1, keepdims=True)  # a constant is no sound
            self._products += segment @ segment.T

    def mix(self) -> Mix:
        """Return which channels to use."""
        everything = tuple(range(self._channels))
        if self._count < SHORTEST:
            return Mix(everything)
        covariance = self._products / self._count
        variances = np.diag(covariance)
        loudest = int(np.argmax(variances > ALIKE * variances.max()))  # the first of equals
        if variances[loudest] <= QUIETEST:
            return Mix(everything)
        alive = [channel for channel in everything if variances[channel] > DEAD * variances[loudest]]
        mixed = covariance[np.ix_(alive, alive)].sum() / len(alive)  # of independent channels: their mean variance
        if len(alive) > 1 and mixed < CANCELLED * variances[alive].mean():
            return Mix((loudest,), f"channels cancel: only {name(loudest, self._channels)} was used")
        dead = [name(channel, self._channels) for channel in everything if channel not in alive]
        return Mix(tuple(alive), f"silent channels left out: {', '.join(dead)}" if dead else "")


def name(channel: int, channels: int) -> str:
    """Return what a channel is called in messages."""
    return ("the left one", "the right one")[channel] if channels == 2 else f"number {channel + 1} of {channels}"


def to_mono(samples: np.ndarray, channels: Sequence[int]) -> np.ndarray:
    """Average channels.

    Args:
        samples: Shape (samples, channels).
        channels: The channels to use, from 0.

    Returns:
        Shape (samples,).
    """
    if len(channels) == 1:
        return samples[:, channels[0]]
    return (samples if len(channels) == samples.shape[1] else samples[:, channels]).mean(axis=1)
