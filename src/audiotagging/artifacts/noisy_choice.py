"""The user's choice of noisy clips to train on, which may be a list.

The stage `ingest` reads the user's data and describes the choice; the stage `select` carries it out. The description
passes between them as a parameter, so that another choice runs `select` again but does not change the spectrograms:

    {"noisy": "all"}, {"noisy": "none"}, {"noisy": "agreement"}
    {"noisy": "list", "path": PATH, "sha256": DIGEST}         a list, with a digest that changes with its content
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audiotagging.base.errors import UserError
from audiotagging.base.files import open_text, sha256
from audiotagging.base.machine import check_machine
from audiotagging.base.spreadsheet import from_field

NOISY_CHOICES = ("none", "all", "agreement")


def read_list(path: Path, noisy_clips: Sequence[str]) -> set[str]:
    """Read a list of noisy clips.

    Args:
        path: A text file with one name per line, or a table whose first column is `fname` or `idx`. `idx` is the row of
            the clip in the noisy table, counted from 0, as in `good_idx.csv` of the published recipe.
        noisy_clips: All noisy clips, in the order of the noisy table.

    Raises:
        UserError: If the list cannot be read, names a clip that is not noisy, or is empty.
    """
    try:
        with open_text(path, newline="") as lines:
            entries = [from_field(row[0]) for row in csv.reader(lines) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        check_machine(error)
        raise UserError(
            f"{path}: expected one of {', '.join(NOISY_CHOICES)} or a list of clips in the data folder as the choice "
            f"of noisy clips, found no readable list ({error})"
        ) from error
    header = entries.pop(0) if entries[:1] in (["fname"], ["idx"]) else "fname"
    clips = {str(row) if header == "idx" else clip: clip for row, clip in enumerate(noisy_clips)}
    unknown = sorted(set(entries).difference(clips))
    if unknown:
        what = "the number of a row" if header == "idx" else "a clip"
        raise UserError(f"{path.name}: {unknown[0]!r} is not {what} of the noisy table ({len(unknown)} such entries)")
    if not entries:
        raise UserError(f"{path.name}: the list is empty; choose noisy=none to train without noisy clips")
    return {clips[entry] for entry in entries}


def describe_choice(noisy: str, *, folder: Path) -> dict[str, Any]:
    """Describe a choice, as it passes from `ingest` to `select` (see this module's docstring).

    Args:
        noisy: One of `NOISY_CHOICES`, or the path of a list.
        folder: The data folder. The path may be relative to it.
    """
    if noisy in NOISY_CHOICES:
        return {"noisy": noisy}
    path = folder / noisy
    return {"noisy": "list", "path": str(path), "sha256": sha256(path)}


def read_chosen_list(choice: Mapping[str, Any], noisy_clips: Sequence[str]) -> set[str]:
    """Read the list of a choice.

    Args:
        choice: A choice that `describe_choice` returned for a list.
        noisy_clips: All noisy clips, as for `read_list`.

    Raises:
        UserError: If the list has changed since then, or if `read_list` cannot read it.
    """
    path = Path(choice["path"])
    if sha256(path) != choice["sha256"]:
        raise UserError(f"{path} has changed since ingest read it; run the pipeline again")
    return read_list(path, noisy_clips)
