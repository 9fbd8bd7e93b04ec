"""Finds the sound that a table means, where it does not write the path as it is.

Tables come from other systems and other years: they have backslashes, absolute paths, the names of files alone, no
endings or those of before a conversion, and names in the other Unicode form.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from audiotagging.sounds.formats import AUDIO_SUFFIXES


class SoundNames:
    """The sounds of a data folder by their names."""

    def __init__(self, sounds: Iterable[PurePosixPath]) -> None:
        """Index the sounds.

        Args:
            sounds: Their paths below the data folder.
        """
        self._exact = {str(sound): sound for sound in sounds}
        self._named: dict[str, list[tuple[PurePosixPath, list[str]]]] = defaultdict(list)  # by name without ending
        for sound in self._exact.values():
            parts = _parts(str(sound))
            self._named[_stem(parts[-1]).lower()].append((sound, parts))

    def find(self, text: str, *, near: Collection[str] = ()) -> list[PurePosixPath]:
        r"""Return the sound that a text means: one, none, or several if it can mean any of them.

        The folders of the text and of the sound must agree as far as both have some. Of several such sounds, those are
        left that have the ending of the text, then its capitals, then most of the folders `near`.

        Args:
            text: What a table says, such as `night 1\\0001.WAV`.
            near: Names of folders, such as those around the table.

        Examples:
            >>> names = SoundNames([PurePosixPath("audio/dog/1.wav"), PurePosixPath("audio/cat/1.wav")])
            >>> names.find("cat/1.mp3")
            [PurePosixPath('audio/cat/1.wav')]
            >>> len(names.find("1"))
            2
        """
        if text in self._exact:
            return [self._exact[text]]
        parts = _parts(text)
        if not parts or ".." in parts:
            return []
        name, above = parts[-1], [part.lower() for part in parts[:-1]]
        found = [
            (sound, own)
            for sound, own in self._named.get(_stem(name).lower(), ())
            if _agree(above, [part.lower() for part in own[:-1]])
        ]
        wanted = {part.lower() for part in near}
        for key in (
            lambda own: own[-1].lower() == name.lower(),
            lambda own: own[-1] == name or _stem(own[-1]) == _stem(name),
            lambda own: own[-len(parts) :][:-1] == parts[:-1],
            lambda own: sum(part.lower() in wanted for part in own[:-1]),
        ):
            best = max((key(own) for _, own in found), default=0)
            found = [(sound, own) for sound, own in found if key(own) == best]
        return [sound for sound, _ in found]


def has_ending(text: str) -> bool:
    """Return whether a text ends as the name of a sound does."""
    return text.lower().endswith(AUDIO_SUFFIXES)


def _parts(text: str) -> list[str]:
    """Return the folders and the name in a path, in the composed Unicode form."""
    path = unicodedata.normalize("NFC", text).replace("\\", "/")
    return [part for part in path.split("/") if part not in ("", ".")]


def _stem(name: str) -> str:
    """Return a name without the ending of a sound. Other dots are part of the name."""
    return name.rpartition(".")[0] if has_ending(name) else name


def _agree(one: list[str], other: list[str]) -> bool:
    """Return whether two lists of folders end alike, as far as both go."""
    shared = min(len(one), len(other))
    return not shared or one[-shared:] == other[-shared:]
