"""Clips on the page: their spectrograms as pictures on one axis of time, and their sounds."""

import base64
import io
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from PIL import Image

from audiotagging.artifacts.excerpts import Excerpt
from audiotagging.evaluation.run_metadata import FRAMES_PER_SECOND

ELEMENT_BYTES = 400  # of a player, without its URL


def audio_url(excerpt: Excerpt) -> str:
    """Return an excerpt as a data URL, for the attribute `src` of an `<audio>` element."""
    return "data:audio/ogg;base64," + base64.b64encode(excerpt.sound).decode()


def choose_players(excerpts: Mapping[str, Excerpt], *, clips: Sequence[str], room: int) -> dict[str, str]:
    """Choose the clips that get players.

    Args:
        excerpts: Excerpts by clip.
        clips: The clips of a page in the order in which they get players. One that the page shows twice is there twice.
        room: Number of bytes that all players may take.

    Returns:
        Data URLs by clip.
    """
    places = Counter(clips)
    players = {}
    for clip in places:  # in the order of their first places
        if clip in excerpts:
            url = audio_url(excerpts[clip])
            size = places[clip] * (len(url) + ELEMENT_BYTES)
            if size <= room:
                players[clip] = url
                room -= size
    return players


LONGEST = 10.0  # seconds; of longer clips, this much is shown
WIDTH = 360  # pixels, of the whole axis
STEPS = (0.1, 0.2, 0.5, 1.0, 2.0)  # seconds between ticks
MOST_TICKS = 6  # besides that at 0


@dataclass(frozen=True)
class TimeAxis:
    """The axis of time that all pictures of a page share.

    Attributes:
        seconds: Its length.
        ticks: The positions of its ticks, in seconds.
    """

    seconds: float
    ticks: list[float]


def time_axis(lengths: Collection[float]) -> TimeAxis:
    """Return an axis that fits clips of these lengths, but is no longer than ten seconds.

    Args:
        lengths: Lengths of the clips in seconds. Not empty.
    """
    seconds = min(max(lengths), LONGEST)
    step = next(step for step in STEPS if seconds / step < MOST_TICKS)
    return TimeAxis(seconds, [round(step * number, 1) for number in range(int(seconds / step + 1e-9) + 1)])


def draw_clip(spectrogram: np.ndarray, *, seconds: float, axis: TimeAxis) -> str:
    """Draw the spectrogram of a clip without its padding, as far as it fits on the axis.

    Args:
        spectrogram: uint8, shape (frames, 128). Short clips are padded on both sides.
        seconds: Length of the clip.
        axis: The axis of time.

    Returns:
        A PNG as a data URL: time from left to right, low frequencies at the bottom.
    """
    frames = min(len(spectrogram), 1 + int(seconds * FRAMES_PER_SECOND))
    padding = (len(spectrogram) - frames) // 2
    sound = spectrogram[padding : padding + min(frames, round(axis.seconds * FRAMES_PER_SECOND))]
    image = Image.fromarray(np.ascontiguousarray(sound.T[::-1]))  # (128, frames), low mels at the bottom
    width = max(1, round(WIDTH * min(1, seconds / axis.seconds)))
    image = image.resize((width, image.height), Image.Resampling.BOX)
    palette = (mpl.colormaps["magma"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    image.putpalette(palette.tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
