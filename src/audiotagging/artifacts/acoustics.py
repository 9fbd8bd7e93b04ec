"""What a sound is like, whatever is in it. The tagger needs it where there is neither pandas nor pyarrow."""

from typing import NamedTuple


class Acoustics(NamedTuple):
    """The level, the band and the hum of a sound.

    Attributes:
        level: Root mean square of its loudest second, in decibels relative to full scale.
        low: The frequency in hertz below which 1 % of its energy lies.
        high: The frequency in hertz above which 0.1 % of its energy lies.
        hum: How far the harmonics of 50 or 60 Hz stand out from the frequencies around them, in decibels.
    """

    level: float
    low: float
    high: float
    hum: float
