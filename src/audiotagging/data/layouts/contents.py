"""What every layout returns: the clips of a data folder."""

import math
from dataclasses import dataclass, field

from audiotagging.base.csv_table import UNKNOWN

PARTS = ("curated", "noisy", "test")
SEPARATORS = ",;|"  # of several labels in one field
FOLDS = [str(fold) for fold in range(128)]  # the values that fit the int8 column of the shards


@dataclass
class Clip:
    """A row of `Dataset.clips`.

    Attributes:
        clip: Its name, which no other clip has.
        part: One of `PARTS`.
        path: Path of the sound file.
        labels: Its labels. Empty for a test clip whose labels are unknown, and for a negative.
        usage: "Public" or "Private" for the test clips of a competition, "Negative" for a negative, else "".
        fold: Its fold, or -1 if the data have none.
        group: The clips of a group, such as those of one recorder, stay in one fold and on one side of the test split.
            "" for a clip that is in no group.
        start: Where it begins in the file, in seconds.
        end: Where it ends in the file, in seconds. It may be after the end of the file.
    """

    clip: str
    part: str
    path: str
    labels: list[str] = field(default_factory=list)
    usage: str = ""
    fold: int = -1
    group: str = ""
    start: float = 0.0
    end: float = math.inf


@dataclass(frozen=True)
class Classes:
    """The classes.

    Attributes:
        names: Their names, in the order of every score table.
        source: Where they come from, such as the name of a table.
    """

    names: list[str]
    source: str


@dataclass(frozen=True)
class Contents:
    """What a data folder contains.

    Attributes:
        source: Where the labels are from, for messages, such as the name of a table.
        classes: The classes, in the order of every score table.
        clips: The clips, the parts in the order of `PARTS`.
        notes: Facts that are worth knowing but are not problems, one string each.
    """

    source: str
    classes: list[str]
    clips: list[Clip]
    notes: list[str]


def check_classes(names: list[str], *, source: str, problems: list[str]) -> None:
    """Check that the names of the classes can be used, and that there are at least two.

    Args:
        names: The names.
        source: Where they are from, for the messages.
        problems: The list to which problems are added, one string each.
    """
    wrong = [name for name in names if not name or not name.isprintable() or {*SEPARATORS, UNKNOWN} & set(name)]
    problems += [f"{source}: a class cannot be called {name!r}" for name in wrong]
    if len(names) < 2:
        problems.append(f"{source}: expected at least 2 classes to tell apart, found {len(names)}")


def shorten(names: list[str], *, shown: int = 3) -> str:
    """Return the first of some names, and how many more there are.

    Examples:
        >>> shorten(["a.wav", "b.wav", "c.wav", "d.wav"])
        'a.wav, b.wav, c.wav and 1 more'
    """
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
