import csv
import io
import json
import os
import re
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import soundfile

from audiotagging.tagging.formats import FORMATS, ROW_GROUP, write_file
from audiotagging.tagging.windows import Tag

LABELS = ["Bark", 'Keys, "jangling"', "tab\tand\nline", "Grün", "'", '"', "a \\ b"]
TIMES = [(0.0, 2.0), (1.5, 3.5), (36_000.123456, 36_002.123456)]
TAGS = [
    Tag(start, end, label, round(0.9 - number / 100, 6))
    for number, (label, (start, end)) in enumerate((label, time) for time in TIMES for label in LABELS)
]
ESCAPED = {"tab\tand\nline": r"tab\tand\nline"}  # where a label must be in one line


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / os.fsdecode(b"b\xfcrd.wav")
    soundfile.write(os.fsencode(path), [0.0] * 8000, 8000)
    return path


@pytest.fixture(params=[0, len(TAGS)])
def tags(request):
    return TAGS[: request.param]


def written(kind, sound, tags, tmp_path):
    path = tmp_path / f"result{FORMATS[kind].suffix}"
    write_file(path, ((sound, tag) for tag in tags), kind=FORMATS[kind])
    return path


def expected(sound, tags):
    """Return the rows of a table, with the name of the file as text."""
    name = str(sound.parent / r"b\xfcrd.wav")
    return [(name, tag.start, tag.end, tag.label, tag.score) for tag in tags]


def rows(table):
    return list(table[["file", "start", "end", "label", "score"]].itertuples(index=False, name=None))


def test_csv(sound, tags, tmp_path):
    path = written("csv", sound, tags, tmp_path)
    assert rows(pd.read_csv(path)) == expected(sound, tags)
    with path.open(encoding="utf-8", newline="") as file:
        assert len(list(csv.reader(file))) == 1 + len(tags)


def test_json(sound, tags, tmp_path):
    found = json.loads(written("json", sound, tags, tmp_path).read_text(encoding="utf-8"))
    assert [tuple(row.values()) for row in found] == expected(sound, tags)
    assert all(list(row) == ["file", "start", "end", "label", "score"] for row in found)


def test_parquet(sound, tags, tmp_path):
    assert rows(pd.read_parquet(written("parquet", sound, tags, tmp_path))) == expected(sound, tags)


def test_parquet_holds_few_rows_in_memory(sound, tmp_path):
    path = written("parquet", sound, (TAGS[0] for _ in range(ROW_GROUP + 1)), tmp_path)
    metadata = pq.ParquetFile(path).metadata
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [ROW_GROUP, 1]


def test_audacity(sound, tags, tmp_path):
    """Start, end and text, separated by tabs, as in the manual of Audacity."""
    lines = written("audacity", sound, tags, tmp_path).read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    found = [re.fullmatch(r"(\d+\.\d{6})\t(\d+\.\d{6})\t([^\t]+) (\d\.\d{3})", line).groups() for line in lines]
    assert [(float(start), float(end), label, float(score)) for start, end, label, score in found] == [
        (tag.start, tag.end, ESCAPED.get(tag.label, tag.label), tag.score) for tag in tags
    ]


def test_raven(sound, tags, tmp_path):
    """The columns that Raven needs, by their names; Raven knows no quotes."""
    table = pd.read_csv(written("raven", sound, tags, tmp_path), sep="\t", quoting=csv.QUOTE_NONE)
    needed = ["Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"]
    assert list(table.columns[:7]) == needed
    assert list(table["Selection"]) == list(range(1, len(tags) + 1))
    found = table[["Begin Path", "Begin Time (s)", "End Time (s)", "Annotation", "Score"]]
    escaped = [
        (name, start, end, ESCAPED.get(label, label), score) for name, start, end, label, score in expected(sound, tags)
    ]
    assert list(found.itertuples(index=False, name=None)) == escaped
    assert (table["File Offset (s)"] == table["Begin Time (s)"]).all()
    if tags:
        assert set(table["View"]) == {"Spectrogram 1"} and set(table["Channel"]) == {1}
        assert set(table["Low Freq (Hz)"]) == {0} and set(table["High Freq (Hz)"]) == {4000}


def test_the_table_names_every_file_once(sound):
    out = io.StringIO()
    FORMATS["table"].write([(sound, TAGS[0]), (sound, TAGS[2]), (Path("b.wav"), TAGS[0])], out)
    assert out.getvalue().splitlines() == [
        str(sound.parent / r"b\xfcrd.wav"),
        "       0.00      2.00  0.900  Bark",
        r"       0.00      2.00  0.880  tab\tand\nline",
        "b.wav",
        "       0.00      2.00  0.900  Bark",
    ]
