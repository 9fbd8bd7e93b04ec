"""Clips of whose files something was not used: `incomplete.csv` in the folder of the spectrograms.

Its columns are `clip`, `part`, `seconds` of the file that can be heard, `stated` (those that its header states, if it
was cut short) and `note`. A file with two faults has two rows. There is no file if there are no such clips.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

INCOMPLETE = "incomplete.csv"
COLUMNS = ["clip", "part", "seconds", "stated", "note"]


def write_incomplete(folder: Path, rows: Sequence[tuple[str, str, float, float | None, str]]) -> None:
    """Write the rows, if there are any, to an existing folder.

    Args:
        folder: The folder.
        rows: The values of the columns.
    """
    if rows:
        pd.DataFrame(rows, columns=COLUMNS).round(3).to_csv(folder / INCOMPLETE, index=False)
