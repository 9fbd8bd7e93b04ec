import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from audiotagging.artifacts.predictions import Predictions, read_predictions, write_predictions
from audiotagging.base.errors import UserError


@pytest.fixture
def predictions():
    rows = pd.DataFrame({"clip": ["a.wav", "b.wav"], "part": ["test", "validation"], "member": "m", "fold": 3})
    return Predictions(["bark", "meow", "hiss, spit"], rows, np.random.default_rng(1).random((2, 3), np.float32))


def test_predictions_survive_the_file(tmp_path, predictions):
    write_predictions(tmp_path / "p.parquet", predictions)
    read = read_predictions(tmp_path / "p.parquet")
    assert read.classes == predictions.classes
    assert read.rows.astype({"part": str, "member": str}).equals(predictions.rows.astype({"fold": "int8"}))
    assert np.array_equal(read.scores, predictions.scores)
    assert [p.name for p in tmp_path.iterdir()] == ["p.parquet"]


def test_another_version_is_refused(tmp_path, predictions):
    write_predictions(tmp_path / "p.parquet", predictions)
    table = pq.read_table(tmp_path / "p.parquet")
    pq.write_table(table.replace_schema_metadata({"version": "99"}), tmp_path / "p.parquet")
    with pytest.raises(UserError, match="version 1, found 99"):
        read_predictions(tmp_path / "p.parquet")
