"""The champions folder holds trained ensembles by version, one of which is the champion: the one in use.

champion.json                            version of the champion, and why it is in use; replaced last
history.json                             what happened: one entry per candidate and per change by hand (`Event`)
versions/VERSION/models/MEMBER-foldK/    weights.safetensors, member.json, history.parquet
versions/VERSION/                        predictions.parquet, submission.csv, ensemble.json, acoustics.parquet
versions/VERSION/clips.parquet           the clips of its data, their labels, and which of them it was trained on
versions/VERSION/rescored.parquet        its predictions of clips that are newer, if there are any

Candidates are compared with the *best* champion so far, which need not be the one in use: a candidate that is not worse
than the best champion takes the champion's place, but only one that is better becomes the best.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from audiotagging.base.errors import UserError
from audiotagging.base.files import check_target
from audiotagging.base.typed_json import convert, read_json

POINTER = "champion.json"
HISTORY = "history.json"
VERSIONS = "versions"
VERSION = re.compile("[0-9a-f]{16}")

# The actions of events by hand, and how to say that they were done.
BY_HAND = {"accept": "accepted", "roll back": "rolled back to", "pin": "pinned", "unpin": "unpinned"}

Verdict = Literal["first", "better", "not worse", "undecided", "worse", "not comparable"]


class Comparison(TypedDict):
    """A comparison of an ensemble with the best champion.

    Attributes:
        set: The clips that both were scored on: "all" (test clips) or "out_of_fold" (curated clips).
        clips: Number of these clips.
        score: Lwlrap of the ensemble.
        champion: Lwlrap of the best champion.
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
        champion: Version of the best champion, which it was compared with, or "" if there was none.
        promoted: Whether the ensemble becomes the champion.
        reason: Why, in one or two sentences.
        verdict: The outcome of the comparison, a `Verdict`. Earlier versions of the program did not write it.
        comparison: The comparison of the two, if there was one.
        more_clips: How many more labelled clips would decide, if it is undecided and that can be said.
    """

    version: str
    champion: str
    promoted: bool
    reason: str
    verdict: NotRequired[str]
    comparison: NotRequired[Comparison]
    more_clips: NotRequired[int]


class Champion(Decision):
    """The content of `champion.json`: the decision that made the ensemble the champion.

    Attributes:
        since: Date and time of the promotion.
        best: Version of the best champion. Where an earlier version of the program left it out, it is the champion.
        pinned: Whether candidates may not take its place.
    """

    since: str
    best: NotRequired[str]
    pinned: NotRequired[bool]


class Measured(TypedDict):
    """The lwlrap of a version on the labelled clips of its own data.

    Attributes:
        set: The clips: "all" (test clips) or "out_of_fold" (curated clips).
        clips: Number of these clips.
        score: Lwlrap of the ensemble.
        low: Lower end of its 95 % interval.
        high: Upper end of its 95 % interval.
    """

    set: str
    clips: int
    score: float
    low: float
    high: float


class Provenance(TypedDict, total=False):
    """Where a version came from.

    Attributes:
        run: Id of the run.
        fingerprint: Fingerprint of the data that it was trained on.
        measured: Its score, if there were labelled clips.
    """

    run: str
    fingerprint: str
    measured: Measured


class Event(Provenance):
    """An entry of `history.json`.

    Attributes:
        when: Date and time.
        action: "candidate" (a run made a version), or what was done by hand: a key of `BY_HAND`.
        version: The version that it is about.
        before: Version of the champion before, or "" if there was none.
        after: Version of the champion from then on, or "" if there is none.
        best: Version of the best champion from then on, or "" if there is none.
        decision: The decision on a candidate, or the one by hand.
    """

    when: str
    action: str
    version: str
    before: str
    after: str
    best: str
    decision: Decision


class History(TypedDict):
    """The content of `history.json`: what happened, oldest first."""

    events: list[Event]


class Promotion(TypedDict, total=False):
    """The output of the stage `promote`. It has no content without a champions folder.

    Attributes:
        decision: The decision on the ensemble of the run.
        history: The history of the champions, with this decision.
    """

    decision: Decision
    history: list[Event]


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
    for version in (champion["version"], best_version(champion)):
        _check_version(path, version)
    return champion


def best_version(champion: Champion) -> str:
    """Return the version that candidates are compared with."""
    return champion.get("best", champion["version"])


def read_events(champions: Path) -> list[Event]:
    """Read what happened, oldest first.

    Where an earlier version of the program wrote no history, it begins with the champion.

    Raises:
        UserError: If the file is corrupt.
    """
    path = champions / HISTORY
    try:
        history = read_json(path, History)["events"]
    except (FileNotFoundError, NotADirectoryError):
        champion = read_champion(champions)
        return [_first_event(champion)] if champion else []
    for event in history:
        for version in filter(None, (event["version"], event["before"], event["after"], event["best"])):
            _check_version(path, version)
    return history


def withdrawn(history: Sequence[Event]) -> set[str]:
    """Return the versions that were rolled back and have not been taken into use by hand since then."""
    found: set[str] = set()
    for event in history:
        found.discard(event["after"])
        if event["action"] == "roll back":
            found.add(event["before"])
    return found


def prepare_champions(champions: Path) -> None:
    """Create the champions folder if needed, and check that a champion can be written there and read.

    Raises:
        UserError: If it is read-only, or if its champion or its history is corrupt.
        OSError: If it cannot be created.
    """
    champions.mkdir(parents=True, exist_ok=True)
    if not os.access(champions, os.W_OK | os.X_OK):
        raise UserError(f"{champions}: expected a folder for the champions that can be written, found a read-only one")
    for name in (POINTER, HISTORY):
        check_target(champions / name)
    champion_folder(champions)
    best_folder(champions)
    read_events(champions)


def champion_folder(champions: Path) -> Path | None:
    """Return the folder of the champion, or None if nothing has been promoted yet.

    Raises:
        UserError: If `champion.json` is corrupt, or if the folder that it names does not exist or is a link to
            somewhere else.
    """
    champion = read_champion(champions)
    return None if champion is None else _named_folder(champions, champion["version"])


def best_folder(champions: Path) -> Path | None:
    """Return the folder of the best champion, or None if nothing has been promoted yet.

    Raises:
        UserError: As `champion_folder` raises it.
    """
    champion = read_champion(champions)
    return None if champion is None else _named_folder(champions, best_version(champion))


def version_folder(champions: Path, version: str) -> Path:
    """Return the folder of a version.

    Raises:
        UserError: If it does not exist or is a link to somewhere else.
    """
    folder = champions / VERSIONS / version
    if not VERSION.fullmatch(version) or not folder.is_dir():
        raise UserError(f"{folder}: expected a version, found no such folder; `audiotagging champion` lists them")
    return _own_folder(champions, folder)


def _named_folder(champions: Path, version: str) -> Path:
    folder = champions / VERSIONS / version
    if not folder.is_dir():
        raise UserError(
            f"{folder}: expected the champion that {champions / POINTER} names, found no such folder; restore it, or "
            f"delete {POINTER} to start without a champion"
        )
    return _own_folder(champions, folder)


def _own_folder(champions: Path, folder: Path) -> Path:
    if not folder.resolve().is_relative_to(champions.resolve()):
        raise UserError(
            f"{folder}: expected a folder in the champions folder {champions}, found a link to {folder.resolve()}; "
            "replace the link by what it links to"
        )
    return folder


def _first_event(champion: Champion) -> Event:
    version, decision = champion["version"], convert(champion, Decision)  # without the date
    when, before = champion["since"], champion["champion"]
    return Event(
        when=when, action="candidate", version=version, before=before, after=version, best=version, decision=decision
    )


def _check_version(path: Path, version: str) -> None:
    if not VERSION.fullmatch(version):
        raise UserError(
            f"{path}: expected a version of 16 hexadecimal digits, found {version[:80]!r}; restore the original file"
        )
