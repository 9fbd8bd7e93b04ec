"""Pairs of clips that sound alike: `alike.csv` in the folder of the spectrograms, with the columns `clip` and `other`.

There is no file if there are no such pairs.
"""

from pathlib import Path

import pandas as pd

from audiotagging.artifacts.tables import read_csv
from audiotagging.wording import counted

ALIKE = "alike.csv"
NAMED = 3


def write_alike(folder: Path, pairs: pd.DataFrame) -> None:
    """Write the pairs, if there are any, to an existing folder.

    Args:
        folder: The folder.
        pairs: One row per pair: `clip` and `other`.
    """
    if len(pairs):
        pairs.to_csv(folder / ALIKE, index=False)


def read_alike(folder: Path) -> pd.DataFrame:
    """Read the pairs: one row per pair, with `clip` and `other`.

    Raises:
        UserError: If the table cannot be read or is corrupt.
    """
    if not (folder / ALIKE).exists():
        return pd.DataFrame({"clip": [], "other": []}, dtype=object)
    return read_csv(folder / ALIKE, {"clip": str, "other": str}, key=["clip", "other"])


def describe_alike(pairs: pd.DataFrame, clips: pd.DataFrame) -> list[str]:
    """Return what a user should know about clips that sound alike, one string per kind of pair.

    Args:
        pairs: One row per pair: `clip` and `other`.
        clips: One row per clip, with at least `clip`, `part` and `labels`.
    """
    part = dict(zip(clips["clip"], clips["part"] == "test", strict=True))
    labels = {clip: set(found) for clip, found in zip(clips["clip"], clips["labels"], strict=True)}
    rows = list(zip(pairs["clip"], pairs["other"], strict=True))
    across = [pair for pair in rows if part[pair[0]] != part[pair[1]]]
    training = [pair for pair in rows if not part[pair[0]] and not part[pair[1]]]
    conflicts = [(a, b) for a, b in rows if labels[a] and labels[b] and labels[a] != labels[b]]
    kinds = (
        (across, "a test clip and a training clip sound alike, which raises the scores; put each pair into one group"),
        (training, "two training clips sound alike, which raises out-of-fold scores; put each pair into one group"),
        (conflicts, "two clips with different labels sound alike; check their labels"),
    )
    return [f"{what}: {_name(found)}" for found, what in kinds if found]


def _name(pairs: list[tuple[str, str]]) -> str:
    left = counted(len(pairs) - NAMED, "more pair")
    more = f" and {left}; {ALIKE} beside the spectrograms lists all" * (len(pairs) > NAMED)
    return "; ".join(f"{clip} and {other}" for clip, other in pairs[:NAMED]) + more
