"""The sounds of a page: excerpts as data URLs, as many as its size allows."""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence

from audiotagging.artifacts.excerpts import Excerpt

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
