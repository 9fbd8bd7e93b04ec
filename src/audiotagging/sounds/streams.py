"""What the two decoders have in common: a stream of samples, and the errors that end it."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from audiotagging.base.errors import UserError

RATES = (1_000, 1_000_000)  # Hz. Recordings of bats have up to 500 kHz; a corrupt header can claim any rate.
MOST_CHANNELS = 1024  # libsndfile's limit
LOUDEST = 1e6  # times full scale. Float files can hold any value, and a sample's power must stay finite.


class SoundError(UserError):
    """Raised for a file that holds no usable sound. The message is the reason, without the name of the file."""


class DecoderError(SoundError):
    """Raised if one decoder cannot read a file. Another may."""


class Stream(Protocol):
    """A sound file that is open for reading.

    Attributes:
        rate: Samples per second and channel.
        channels: Number of channels.
    """

    rate: int
    channels: int

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        """Yield the samples, float32, shape (up to `frames`, channels), full scale being 1.

        Raises:
            DecoderError: If they cannot be decoded, or no more of them.
        """


def check_head(rate: int, channels: int) -> None:
    """Check what the head of a file claims.

    Raises:
        SoundError: If it cannot be true.
    """
    if not RATES[0] <= rate <= RATES[1]:
        raise SoundError(f"cannot be decoded: expected a rate of {RATES[0]} to {RATES[1]} Hz, found {rate} Hz")
    if not 1 <= channels <= MOST_CHANNELS:
        raise SoundError(f"cannot be decoded: expected up to {MOST_CHANNELS} channels, found {channels}")


def check_values(samples: np.ndarray) -> None:
    """Check that samples are numbers that a sound can have.

    Raises:
        SoundError: If they are not.
    """
    if not (np.abs(samples) < LOUDEST).all():  # also false for NaN
        raise SoundError(
            f"contains values that are not sound (NaN, infinity or more than {LOUDEST:g} times full scale)"
        )
