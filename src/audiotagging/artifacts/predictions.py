"""Prediction tables: Parquet files that pass from predict to ensemble, and from ensemble to evaluate."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_file
from audiotagging.base.tables import check_columns, corrupt_table, read_parquet, write_parquet

SCHEMA_VERSION = 1
PARTS = ("validation", "test", "disturbance")


@dataclass(frozen=True)
class Predictions:
    """Scores of clips by one or more members. There are no rows if nothing was to be predicted.

    Attributes:
        classes: The classes, in the order of the scores.
        rows: One row per prediction: `clip`, `part` (one of `PARTS`), `member`, and `fold` (-1 for none).
        scores: Scores, higher for likelier classes, float32, shape (rows, classes).
        members: Ids of the members, by default of those that have rows.
        unheard: Classes whose labels say nothing about the scores of validation clips: all training clips with the
            label are in one fold, so that the models that scored them were not trained on any.
    """

    classes: list[str]
    rows: pd.DataFrame
    scores: np.ndarray
    members: list[str] = field(default_factory=list)
    unheard: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Take the members from the rows."""
        self.members.extend(name for name in self.rows["member"].astype(str).unique() if name not in self.members)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a prediction table atomically.

    Examples:
        >>> import tempfile
        >>> rows = pd.DataFrame({"clip": ["1.wav"], "part": ["test"], "member": ["xresnet50-bce"], "fold": [-1]})
        >>> predictions = Predictions(["Bark", "Meow"], rows, np.array([[0.75, 0.25]], np.float32))
        >>> path = Path(tempfile.mkdtemp()) / "predictions.parquet"
        >>> write_predictions(path, predictions)
        >>> read_predictions(path).scores
        array([[0.75, 0.25]], dtype=float32)
    """
    rows, classes = predictions.rows, predictions.classes
    assert predictions.scores.shape == (len(rows), len(classes)) and predictions.scores.dtype == np.float32
    scores = pa.FixedSizeListArray.from_arrays(pa.array(predictions.scores.ravel()), len(classes))
    table = pa.table(
        {
            "clip": pa.array(rows["clip"], pa.string()),
            "part": pa.array(rows["part"], pa.string()).dictionary_encode(),
            "member": pa.array(rows["member"], pa.string()).dictionary_encode(),
            "fold": pa.array(rows["fold"], pa.int8()),
            "scores": scores,
        }
    ).replace_schema_metadata(
        {
            "version": str(SCHEMA_VERSION),
            "classes": "\n".join(classes),
            "members": "\n".join(predictions.members),
            "unheard": "\n".join(predictions.unheard),
        }
    )
    with atomic_file(path) as partial:
        write_parquet(partial, table)


def read_predictions(path: Path) -> Predictions:
    """Read a prediction table.

    Raises:
        UserError: If the file has another schema version than this program, or if it is corrupt.
    """
    table = read_parquet(path)
    metadata = {key.decode(): value.decode(errors="replace") for key, value in (table.schema.metadata or {}).items()}
    if metadata.get("version") != str(SCHEMA_VERSION):
        raise UserError(
            f"{path}: expected a prediction table of version {SCHEMA_VERSION}, "
            f"found {metadata.get('version', 'no version')}; run the predictions again with this version of the program"
        )
    classes = metadata.get("classes", "").split("\n")
    check_columns(path, table, _schema(len(classes)))
    scores = table["scores"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, len(classes))
    rows = table.drop_columns("scores").to_pandas()
    unheard = [name for name in metadata.get("unheard", "").split("\n") if name]  # earlier tables do not say
    if reason := _find_fault(classes, rows, scores, unheard):
        raise corrupt_table(path, reason)
    return Predictions(classes, rows, scores, metadata.get("members", "").split(), unheard)


def _schema(classes: int) -> pa.Schema:
    names = pa.dictionary(pa.int32(), pa.string())
    types = {"clip": pa.string(), "part": names, "member": names, "fold": pa.int8()}
    types["scores"] = pa.list_(pa.float32(), classes)
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in types.items()])


def _find_fault(classes: list[str], rows: pd.DataFrame, scores: np.ndarray, unheard: list[str]) -> str:
    """Return why these cannot be predictions, or an empty string if they can be."""
    members = rows[["member", "fold"]].drop_duplicates()
    if not set(unheard) <= set(classes):
        return "it has no scores of a class that it names"
    if len(set(classes)) < len(classes):
        return "a class occurs more than once"
    if not rows["part"].isin(PARTS).all():
        return f"a part is none of {', '.join(PARTS)}"
    if rows.duplicated(["clip", "part", "member", "fold"]).any():
        return "it has several rows for the same clip, member and fold"
    if not (rows.groupby(["clip", "part"], observed=True).size() == len(members)).all():
        return "its members have different clips"
    if not ((scores >= 0) & (scores <= 1)).all():  # also false for NaN
        return "a score is not from 0 to 1"
    return ""
