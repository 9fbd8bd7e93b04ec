"""A folder with the tags of many sounds, one file per sound. An interrupted command resumes when it is given again."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_file
from audiotagging.base.removal import LEFTOVER, remove_leftovers
from audiotagging.base.typed_json import read_json, write_json

SETTINGS = "settings.json"  # marks a folder of results


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What determines the tags of a sound.

    Attributes:
        models: Digest of the models and of how they are averaged.
        every: Length of a window in seconds.
        overlap: How many seconds of a window the next window covers too.
        merge: Whether neighbours of one label are merged.
        top: Largest number of tags per window.
        precision: The promised precision of the tags. None if all scores count.
        format: Format of the files.
        channel: The channel that is used, as in `recordings.ChannelOf`. None for those that can be.
    """

    models: str
    every: float
    overlap: float
    merge: bool
    top: int
    precision: float | None
    format: str
    channel: int | None = None


def open_results(folder: Path, settings: Settings) -> None:
    """Create a folder of results, or check that it holds results of the same settings.

    Raises:
        UserError: If it holds anything else.
    """
    path = folder / SETTINGS
    try:
        found = read_json(path, Settings)
    except (FileNotFoundError, NotADirectoryError):
        if folder.exists() and not (
            folder.is_dir() and all(LEFTOVER.fullmatch(each.name) for each in folder.iterdir())
        ):
            raise UserError(
                f"--out: expected a new folder, an empty one or one with results of this command, found {folder} "
                f"without {SETTINGS}; name another"
            ) from None
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as partial:
            write_json(partial, asdict(settings))
        remove_leftovers(folder, marker=SETTINGS)
        return
    for field in fields(Settings):
        expected, other = getattr(settings, field.name), getattr(found, field.name)
        if expected != other:
            what = "other models" if field.name == "models" else f"--{field.name} {other}"
            raise UserError(
                f"--out: expected results of the same models and options, found {what} in {path}; name another folder"
            )
    remove_leftovers(folder, marker=SETTINGS)


def last_change(path: Path) -> int:
    """Return when a file was last changed, in nanoseconds. -1 if it cannot be looked at.

    The result of a sound has the time of the sound. Whether it is newer would say nothing: clocks go backwards, and
    older files take the place of newer ones.
    """
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return -1


def result_paths(folder: Path, names: Iterable[tuple[Path, Path]], *, suffix: str) -> dict[Path, Path]:
    """Return the path of the result of every sound.

    Args:
        folder: The folder of results.
        names: Every sound, and its path relative to the folder that was to be tagged.
        suffix: Ending of the results.

    Raises:
        UserError: If two sounds have the same name.
    """
    sounds: dict[Path, Path] = {}
    for sound, name in names:
        if sounds.setdefault(name, sound) != sound:
            raise UserError(
                f"--out: expected sounds with different names, found {sounds[name]} and {sound}; tag them with "
                "different --out"
            )
    return {sound: folder / f"{name}{suffix}" for name, sound in sounds.items()}
