"""The query parameters of a request: the options of the command `tag`."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams

from audiotagging.artifacts.calibration import TARGET_PRECISIONS
from audiotagging.serving.limits import RefusedError
from audiotagging.tagging.windows import MOST_OVERLAP, WINDOW_SECONDS, check_windows

MOST_TAGS = 1000
WHOLE = re.compile(r"[0-9]{1,9}", re.ASCII)
NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,2})?", re.ASCII)
SWITCH = {"true": True, "false": False}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to answer.

    Attributes:
        top: Largest number of tags per sound or window.
        precision: Only tags that this precision is promised for, with calibrated scores.
        every: Length of windows in seconds. None for the tags of whole sounds.
        overlap: How much of a window the next one covers too, in seconds.
        merge: Whether to merge neighbouring windows with the same label.
    """

    top: int = 5
    precision: float | None = None
    every: float | None = None
    overlap: float = 0.0
    merge: bool = False

    def __post_init__(self) -> None:
        """Check the options."""
        if not 1 <= self.top <= MOST_TAGS:
            raise RefusedError(422, f"top: expected a number from 1 to {MOST_TAGS}, found {self.top}")
        if self.precision is not None and self.precision not in TARGET_PRECISIONS:
            raise RefusedError(422, f"precision: expected {_alternatives(TARGET_PRECISIONS)}, found {self.precision:g}")
        if self.every is None:
            for name, given in (("overlap", self.overlap), ("merge", self.merge)):
                if given:
                    raise RefusedError(422, f"{name}: expected every=SECONDS beside it, found none; add it")
        else:
            check_windows(every=self.every, overlap=self.overlap)


@dataclass(frozen=True)
class Parameter:
    """A query parameter.

    Attributes:
        convert: Converts its value.
        expected: What values it has, in words.
        schema: The JSON schema of its value.
        description: What it does.
    """

    convert: Callable[[str], Any]
    expected: str
    schema: dict[str, Any]
    description: str


def _alternatives(values: tuple[float, ...]) -> str:
    return " or ".join(f"{value:g}" for value in values)


def _matching(pattern: re.Pattern[str], convert: Callable[[str], Any]) -> Callable[[str], Any]:
    def convert_all(text: str) -> Any:
        if not pattern.fullmatch(text):
            raise ValueError
        return convert(text)

    return convert_all


PARAMETERS = {
    "top": Parameter(
        _matching(WHOLE, int),
        "a whole number",
        {"type": "integer", "minimum": 1, "maximum": MOST_TAGS, "default": 5},
        "Largest number of tags per sound or window.",
    ),
    "precision": Parameter(
        _matching(NUMBER, float),
        _alternatives(TARGET_PRECISIONS),
        {"type": "number", "enum": list(TARGET_PRECISIONS)},
        "Only tags of which this share is right on clips like those of training, with calibrated scores. It needs "
        "models that were trained with folds.",
    ),
    "every": Parameter(
        _matching(NUMBER, float),
        "a number of seconds",
        {"type": "number", "minimum": WINDOW_SECONDS[0], "maximum": WINDOW_SECONDS[1]},
        "Tag every window of this length, in seconds, instead of whole sounds.",
    ),
    "overlap": Parameter(
        _matching(NUMBER, float),
        "a number of seconds",
        {"type": "number", "minimum": 0, "maximum": MOST_OVERLAP * WINDOW_SECONDS[1], "default": 0},
        f"How many seconds of a window the next one covers too, at most {MOST_OVERLAP:g} of it. It needs `every`.",
    ),
    "merge": Parameter(
        SWITCH.__getitem__,
        "true or false",
        {"type": "boolean", "default": False},
        "Merge neighbouring windows with the same label. It needs `every`.",
    ),
}


def read_options(query: QueryParams) -> Options:
    """Read the options of a request.

    Raises:
        RefusedError: If there are others, or if a value is wrong.
        UserError: If there cannot be such windows.
    """
    values: dict[str, Any] = {}
    for name, text in query.multi_items():
        if name not in PARAMETERS:
            raise RefusedError(422, f"expected the parameters {', '.join(PARAMETERS)}, found {name[:80]!r}")
        if name in values:
            raise RefusedError(422, f"{name}: expected one value, found several")
        try:
            values[name] = PARAMETERS[name].convert(text)
        except (ValueError, KeyError):
            raise RefusedError(422, f"{name}: expected {PARAMETERS[name].expected}, found {text[:80]!r}") from None
    return Options(**values)
