"""How the user wants a data folder to be read, where its own layout does not say it or says it in other words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ROLES = ("path", "labels", "start", "end", "fold", "split", "group", "confidence")  # what a column can be used as
NO_COLUMN = "none"


@dataclass(frozen=True)
class Reading:
    """The user's wishes. The defaults leave everything to what is found.

    Attributes:
        table: Path of the table of clips in the data folder, "" for the one that is found.
        sounds: The folder that the sounds are in, relative to the data folder or absolute. "" for the data folder.
        columns: The names of the columns to use, by `ROLES`. `NO_COLUMN` if none is to be used.
        negatives: Classes that are none: their clips have no labels, and teach what is not to be tagged.
        allow_unlabelled: Whether training clips may have no labels, as such clips.
        min_confidence: Labels that the data are less sure of are left out. None refuses such labels.
    """

    table: str = ""
    sounds: str = ""
    columns: Mapping[str, list[str]] = field(default_factory=dict)
    negatives: tuple[str, ...] = ()
    allow_unlabelled: bool = False
    min_confidence: float | None = None

    @classmethod
    def from_dict(cls, wishes: Mapping[str, Any]) -> "Reading":
        """Make a reading of a parameter of the pipeline, which has the attributes that differ from the defaults."""
        return cls(**{**wishes, "negatives": tuple(wishes.get("negatives", ()))})


AS_FOUND = Reading()
