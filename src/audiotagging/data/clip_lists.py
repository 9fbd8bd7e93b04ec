"""Lists of clips: those known to be bad, and the user's choice of noisy clips."""

import csv
from collections.abc import Sequence
from pathlib import Path

from audiotagging.errors import UserError

# Curated clips of FSDKaggle2019 that are known to be bad. Other data sets do not have clips of these names.
BAD_CLIPS = {
    "f76181c4.wav": "wrong labels",
    "77b925c2.wav": "wrong labels",
    "6a1f682a.wav": "wrong labels",
    "c7db12aa.wav": "wrong labels",
    "7752cc8a.wav": "wrong labels",
    "1d44b0bd.wav": "no signal",
}

NOISY_CHOICES = ("none", "all", "agreement")


def read_list(path: Path, noisy_clips: Sequence[str]) -> set[str]:
    """Read a list of noisy clips.

    Args:
        path: A text file with one name a line, or a table whose first column is `fname`; or `idx`, the row of each clip
            in the noisy table, counted from 0, as in the published recipe's `good_idx.csv`.
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
