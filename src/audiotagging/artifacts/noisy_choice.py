"""Which noisy clips to train on: what a user may choose, and a user's own list of them.

The stage `ingest` sees the user's data and says what was chosen; the stage `select` acts on it. What passes between
them is a parameter, so that another choice runs `select` again and leaves the spectrograms as they are:

    {"noisy": "all"}, {"noisy": "none"}
    {"noisy": "agreement", "judge": ROW}                      the fields of the member that judges the clips
    {"noisy": "list", "path": PATH, "sha256": DIGEST}         a list; another content is another parameter
"""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from audiotagging.errors import UserError
from audiotagging.members import Member

NOISY_CHOICES = ("none", "all", "agreement")


def read_list(path: Path, noisy_clips: Sequence[str]) -> set[str]:
    """Read a list of noisy clips.

    Args:
        path: A text file with one name per line, or a table whose first column is `fname`; or `idx`, the row of each
            clip in the noisy table, counted from 0, as in the published recipe's `good_idx.csv`.
        noisy_clips: The clips that may be chosen, in the order of the noisy table.

    Raises:
        UserError: If the list cannot be read, names a clip that is not noisy, or is empty.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            entries = [row[0] for row in csv.reader(lines) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"noisy must be one of {', '.join(NOISY_CHOICES)} or a list of clips in the data folder, "
            f"and {path} cannot be read as one: {error}"
        ) from error
    head = entries.pop(0) if entries[:1] in (["fname"], ["idx"]) else "fname"
    clips = {str(row) if head == "idx" else clip: clip for row, clip in enumerate(noisy_clips)}
    unknown = sorted(set(entries).difference(clips))
    if unknown:
        what = "the number of a row" if head == "idx" else "a clip"
        raise UserError(f"{path.name}: {unknown[0]!r} is not {what} of the noisy table ({len(unknown)} such entries)")
    if not entries:
        raise UserError(f"{path.name}: the list has no clips; choose noisy=none to train without noisy clips")
    return {clips[entry] for entry in entries}


def describe_choice(noisy: str, *, folder: Path, judge: Member) -> dict[str, Any]:
    """Return a choice as it passes from `ingest` to `select` (see this module's head).

    Args:
        noisy: One of `NOISY_CHOICES`, or the path of a list.
        folder: The data folder, which the path may be relative to.
        judge: The member that judges the clips for "agreement".
    """
    if noisy == "agreement":
        return {"noisy": noisy, "judge": asdict(judge)}
    if noisy in NOISY_CHOICES:
        return {"noisy": noisy}
    path = folder / noisy
    return {"noisy": "list", "path": str(path), "sha256": _digest(path)}


def read_chosen_list(choice: Mapping[str, Any], noisy_clips: Sequence[str]) -> set[str]:
    """Return the clips of the list that was chosen.

    Args:
        choice: As `describe_choice` returns it for a list.
        noisy_clips: As `read_list` takes them.

    Raises:
        UserError: If the list has changed since, or as `read_list` raises it.
    """
    path = Path(choice["path"])
    if _digest(path) != choice["sha256"]:
        raise UserError(f"{path} has changed since ingest looked at it; run again")
    return read_list(path, noisy_clips)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
