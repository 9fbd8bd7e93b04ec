"""The tables of a data folder in the layout of FSDKaggle2019, and the classes that they name."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from audiotagging.base.csv_table import TableError, read_table
from audiotagging.data.layouts.contents import Classes, check_classes
from audiotagging.data.layouts.label_cells import clean, split_labels

BAD_CLIPS = {
    "f76181c4.wav": "wrong labels",
    "77b925c2.wav": "wrong labels",
    "6a1f682a.wav": "wrong labels",
    "c7db12aa.wav": "wrong labels",
    "7752cc8a.wav": "wrong labels",
    "1d44b0bd.wav": "no signal",
}


LABELLED = ("fname", "labels")  # columns


@dataclass(frozen=True)
class Table:
    """A table of the folder.

    Attributes:
        name: Name of its file.
        rows: Its rows, by line.
    """

    name: str
    rows: pd.DataFrame


@dataclass(frozen=True)
class Tables:
    """The tables of a data folder; None where there is no such table."""

    curated: Table
    noisy: Table | None
    submission: Table | None
    truth: Table | None


def read_tables(folder: Path, *, noisy: bool, problems: list[str]) -> Tables | None:
    """Read the tables of a data folder.

    Args:
        folder: The data folder.
        noisy: Whether to read the table of noisy clips.
        problems: The list to which problems are added, one string each.

    Returns:
        The tables, or None if the curated table is missing or if a table cannot be read. Further problems may only be
        consequences of that.
    """
    unreadable = []

    def read(*names: str, columns: tuple[str, ...] = LABELLED) -> Table | None:
        """Read the first table of these names that exists."""
        name = next((name for name in names if (folder / name).exists()), None)
        if name is None:
            return None
        try:
            rows, uneven = read_table(folder / name, columns)
        except TableError as error:
            problems.extend(error.problems)
            unreadable.append(name)
            return None
        problems.extend(uneven)
        return Table(name, rows)

    curated = read("train_curated.csv", "train_curated_post_competition.csv")
    if curated is None and not unreadable:
        problems.append(f"train_curated.csv is missing; expected a table with the columns {', '.join(LABELLED)}")
    noisy_table = read("train_noisy.csv", "train_noisy_post_competition.csv") if noisy else None
    submission = read("sample_submission.csv", columns=("fname",))
    truth = read("test_post_competition.csv")
    return None if curated is None or unreadable else Tables(curated, noisy_table, submission, truth)


def find_classes(tables: Tables, *, problems: list[str]) -> Classes:
    """Take the classes from the columns of the submission or, if there is none, from the curated labels.

    Args:
        tables: The tables of the data folder.
        problems: The list to which problems are added, one string each.
    """
    if tables.submission:
        source = tables.submission.name
        names = [clean(column) for column in tables.submission.rows if column != "fname"]
    else:
        source = tables.curated.name
        names = sorted({label for field in tables.curated.rows["labels"] for label in split_labels(field)})
    check_classes(names, source=source, problems=problems)
    return Classes(names, source)
