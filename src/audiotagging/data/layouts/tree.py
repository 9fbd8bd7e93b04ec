"""Lists the files of a data folder that has no layout of its own: its sounds, and what else is in between."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from audiotagging.base.errors import in_one_line
from audiotagging.base.files import path_text, walk
from audiotagging.base.wording import pluralize
from audiotagging.data.layouts.contents import shorten
from audiotagging.sounds.formats import is_hidden, is_sound_name


@dataclass(frozen=True)
class Tree:
    """The files below a folder, by their paths below it.

    Attributes:
        folder: The folder.
        sounds: The sounds, going by their names, sorted.
        others: All other files, sorted.
        hidden: Number of files that are hidden, or that systems leave in folders.
        empty: The folders without a sound in them or below them, sorted.
    """

    folder: Path
    sounds: list[PurePosixPath]
    others: list[PurePosixPath]
    hidden: int
    empty: list[PurePosixPath]

    def notes(self, *, used: Collection[PurePosixPath] = ()) -> list[str]:
        """Return how many files are left out because they are neither sounds nor used otherwise."""
        found = []
        if others := [file for file in self.others if file not in used]:
            found.append(f"{pluralize(len(others), 'file')} of other kinds, left out: {_named(others)}")
        if self.hidden:
            found.append(f"{pluralize(self.hidden, 'hidden file')} left out")
        return found


def list_tree(folder: Path) -> Tree:
    """List the files below a folder. Links are followed, but not in circles."""
    sounds: list[PurePosixPath] = []
    others: list[PurePosixPath] = []
    folders: list[PurePosixPath] = []
    hidden = 0
    seen = set()
    for at, names, files in walk(folder, follow=True):
        state = at.stat()
        if (state.st_dev, state.st_ino) in seen:
            names.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        below = PurePosixPath(at.relative_to(folder).as_posix())
        folders.append(below)
        names[:] = sorted(name for name in names if not is_hidden(name))
        for name in files:
            if is_hidden(name):
                hidden += 1
            elif is_sound_name(name):
                sounds.append(below / name)
            else:
                others.append(below / name)
    filled = {parent for sound in sounds for parent in sound.parents}
    return Tree(folder, sorted(sounds), sorted(others), hidden, sorted(set(folders) - filled))


def name_of(path: PurePosixPath | str) -> str:
    r"""Return a path as the name of a clip or a class, with bytes that are not UTF-8 and controls as in `\xff`."""
    return in_one_line(path_text(path))


def _named(files: list[PurePosixPath]) -> str:
    return shorten([name_of(file) for file in files])
