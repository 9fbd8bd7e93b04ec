"""The noisy clips to train on, chosen by the stage `select`: a folder with `noisy.csv`, one row per clip.

Its columns are `fname` and, where a judge chose the clips, `margin`: by how much the clip's lowest label outscores its
highest other class.
"""

from pathlib import Path

import pandas as pd

TABLE = "noisy.csv"


def write_noisy_clips(folder: Path, clips: pd.DataFrame) -> None:
    """Write the table of chosen clips into a folder that exists.

    Args:
        folder: The folder.
        clips: `fname` and, where a judge chose them, `margin`; one row per clip.
    """
    clips.to_csv(folder / TABLE, index=False)


def read_noisy_clips(folder: Path) -> pd.DataFrame:
    """Return the table of chosen clips, one row per clip."""
    return pd.read_csv(folder / TABLE, dtype={"fname": str}, keep_default_na=False)
