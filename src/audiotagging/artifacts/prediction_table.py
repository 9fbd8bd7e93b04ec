"""Prediction tables: Parquet files that pass from predict to ensemble, and from ensemble to evaluate."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from audiotagging.errors import UserError
from audiotagging.files import atomic_file

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Predictions:
    """Scores of clips by one or more members.

    Attributes:
        classes: The classes, in the order of the scores.
        rows: One row per prediction: `clip`, `part` ("validation" or "test"), `member`, and `fold` (-1 for none).
        scores: Scores, higher for likelier classes, float32, shape (rows, classes).
    """

    classes: list[str]
    rows: pd.DataFrame
    scores: np.ndarray


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
    ).replace_schema_metadata({"version": str(SCHEMA_VERSION), "classes": "\n".join(classes)})
    with atomic_file(path) as partial:
        pq.write_table(table, partial)


def read_predictions(path: Path) -> Predictions:
    """Read a prediction table.

    Raises:
        UserError: If the file has another schema version than this program.
    """
    table = pq.read_table(path)
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    if metadata.get("version") != str(SCHEMA_VERSION):
        raise UserError(
            f"{path}: expected a prediction table of version {SCHEMA_VERSION}, "
            f"found {metadata.get('version', 'no version')}; run the predictions again with this version of the program"
        )
    classes = metadata["classes"].split("\n")
    scores = table["scores"].combine_chunks().flatten().to_numpy().reshape(-1, len(classes))
    return Predictions(classes, table.drop_columns("scores").to_pandas(), scores)
