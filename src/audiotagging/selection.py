"""Which clips to train on: known bad clips are left out, and noisy clips are chosen."""

import csv
from collections.abc import Collection
from pathlib import Path

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


def read_list(path: Path, noisy_clips: Collection[str]) -> set[str]:
    """Read a list of noisy clips: a text file with one name a line, or a table whose first column is `fname`.

    Args:
        path: The list.
        noisy_clips: The clips that may be chosen.

    Raises:
        ValueError: If the list cannot be read, names a clip that is not noisy, or is empty.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            names = {row[0] for row in csv.reader(lines) if row and row[0] != "fname"}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"noisy must be one of {', '.join(NOISY_CHOICES)} or a list of clips in the data folder, "
            f"and {path} cannot be read as one: {error}"
        ) from error
    unknown = sorted(names.difference(noisy_clips))
    if unknown:
        raise ValueError(f"{path.name}: {unknown[0]!r} is not in the noisy table ({len(unknown)} such clips)")
    if not names:
        raise ValueError(f"{path.name}: the list has no clips; choose noisy=none to train without noisy clips")
    return names
