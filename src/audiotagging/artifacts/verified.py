"""The check of spectrograms against librosa: `verified.json` in their folder.

There is none if no clip was checked, and none from earlier versions of the program.
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from audiotagging.base.typed_json import read_json, write_json
from audiotagging.base.wording import number, pluralize

NAME = "verified.json"


@dataclass(frozen=True)
class Verified:
    """A check that found no difference but rounding.

    Attributes:
        checked: Number of clips whose spectrograms librosa computed too.
        clips: Number of clips in the folder.
        decoded_by_us: How many of the checked clips librosa computed from samples that this program had decoded.
        different: Share of their pixels that are one level off.
        processor: The processor.
        libraries: Versions of the libraries that computed, by name.
    """

    checked: int
    clips: int
    decoded_by_us: int
    different: float
    processor: str
    libraries: dict[str, str]


def write_verified(folder: Path, verified: Verified) -> None:
    """Write the result of a check to an existing folder."""
    write_json(folder / NAME, asdict(verified))


def read_verified(folder: Path) -> Verified | None:
    """Read the result of the check, or return None if there was none.

    Raises:
        UserError: If the file is corrupt.
    """
    return read_json(folder / NAME, Verified) if os.path.lexists(folder / NAME) else None


def describe_verified(verified: Verified) -> str:
    """Return the result of a check in a sentence.

    Examples:
        >>> describe_verified(Verified(16, 4970, 0, 0.0, "EPYC", {"librosa": "0.11.0"}))
        '16 of 4 970 clips checked against librosa 0.11.0: equal'
        >>> describe_verified(Verified(2, 40, 1, 3e-05, "EPYC", {"librosa": "0.11.0"})).partition(": ")[2]
        'equal but for rounding (0.003 % of their pixels are one level off), 1 of them from samples that we decoded'
    """
    clips = f"{number(verified.checked)} of {pluralize(verified.clips, 'clip')} checked"
    librosa = f"against librosa {verified.libraries['librosa']}"
    if not verified.checked:
        return f"{clips} {librosa}: those that were drawn cannot be used"
    rounding = f" but for rounding ({100 * verified.different:.2g} % of their pixels are one level off)"
    ours = f", {number(verified.decoded_by_us)} of them from samples that we decoded"
    return f"{clips} {librosa}: equal{rounding * (verified.different > 0)}{ours * (verified.decoded_by_us > 0)}"
