"""The champions folder holds trained ensembles by version, one of which is the champion.

champion.json                            version of the champion, and why it was promoted; replaced last
versions/VERSION/models/MEMBER-foldK/    weights.safetensors, member.json, history.parquet
versions/VERSION/                        predictions.parquet, submission.csv, ensemble.json, acoustics.parquet
"""

import os
import re
from pathlib import Path
from typing import NotRequired, TypedDict

from audiotagging.errors import UserError
from audiotagging.json_file import read_json

POINTER = "champion.json"
VERSIONS = "versions"
VERSION = re.compile("[0-9a-f]{16}")


class Comparison(TypedDict):
    """A comparison of an ensemble with the champion.

    Attributes:
        set: The clips that both were scored on: "all" (test clips) or "out_of_fold" (curated clips).
        clips: Number of these clips.
        score: Lwlrap of the ensemble.
        champion: Lwlrap of the champion.
        difference: The difference between the two.
        low: Lower end of its 95 % interval.
        high: Upper end of its 95 % interval.
    """

    set: str
    clips: int
    score: float
    champion: float
    difference: float
    low: float
    high: float


class Decision(TypedDict):
    """The decision on whether an ensemble becomes the champion.

    Attributes:
        version: Version of the ensemble.
        champion: Version of the champion that it was compared with, or "" if there was none.
        promoted: Whether the ensemble becomes the champion.
        reason: Why, in one sentence.
        comparison: The comparison of the two, if there was one.
    """

    version: str
    champion: str
    promoted: bool
    reason: str
    comparison: NotRequired[Comparison]


class Champion(Decision):
    """The content of `champion.json`: the decision that made the ensemble the champion.

    Attributes:
        since: Date and time of the promotion.
    """

    since: str


def read_champion(champions: Path) -> Champion | None:
    """Read `champion.json`. Return None if nothing has been promoted yet.

    Raises:
        UserError: If the file is corrupt.
    """
    path = champions / POINTER
    try:
        champion = read_json(path, Champion)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not VERSION.fullmatch(champion["version"]):
        raise UserError(
            f"{path}: expected a version of 16 hexadecimal digits, found {champion['version'][:80]!r}; restore the "
            "original file"
        )
    return champion


def prepare_champions(champions: Path) -> None:
    """Create the champions folder if needed, and check that a champion can be written there and read.

    Raises:
        UserError: If it is read-only, or if its champion is corrupt.
        OSError: If it cannot be created.
    """
    champions.mkdir(parents=True, exist_ok=True)
    if not os.access(champions, os.W_OK | os.X_OK):
        raise UserError(f"{champions}: expected a folder for the champions that can be written, found a read-only one")
    champion_folder(champions)


def champion_folder(champions: Path) -> Path | None:
    """Return the folder of the champion, or None if nothing has been promoted yet.

    Raises:
        UserError: If `champion.json` is corrupt, or if the folder that it names does not exist or is a link to
            somewhere else.
    """
    champion = read_champion(champions)
    if champion is None:
        return None
    folder = champions / VERSIONS / champion["version"]
    if not folder.is_dir():
        raise UserError(
            f"{folder}: expected the champion that {champions / POINTER} names, found no such folder; restore it, or "
            f"delete {POINTER} to start without a champion"
        )
    if not folder.resolve().is_relative_to(champions.resolve()):
        raise UserError(
            f"{folder}: expected a folder in the champions folder {champions}, found a link to {folder.resolve()}; "
            "replace the link by what it links to"
        )
    return folder
