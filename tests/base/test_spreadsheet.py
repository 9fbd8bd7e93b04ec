"""No name becomes a formula of a spreadsheet, and none is lost: what is written to a table is read from it again."""

import csv
import io
from pathlib import Path

import pandas as pd
import pytest

from audiotagging.artifacts.near_duplicates import read_alike, write_alike
from audiotagging.artifacts.selection import read_folds, read_list, read_noisy_clips, write_selection
from audiotagging.artifacts.spectrogram_shards import ShardWriter, read_rejected
from audiotagging.base.spreadsheet import from_field, to_field
from audiotagging.data.corrections import read_corrections
from audiotagging.data.layouts.contents import Classes
from audiotagging.evaluation.mistakes import write_suspicious
from audiotagging.export.model_card import ENVIRONMENT
from audiotagging.studies.learning_curve import _write_table
from audiotagging.tagging.formats import FORMATS
from audiotagging.tagging.windows import Tag

FORMULAS = ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", '=HYPERLINK("http://x")', "'=1", "''", "-a.wav"]
PLAIN = ["a.wav", "it's", "'tis", "1-1", ""]


@pytest.mark.parametrize("text", FORMULAS + PLAIN)
def test_what_is_written_is_read_and_is_no_formula(text):
    assert from_field(to_field(text)) == text
    assert not to_field(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert to_field(text) == text or text in FORMULAS


def texts_in(path):
    with path.open(newline="", encoding="utf-8") as file:
        return {field for row in csv.reader(file) for field in row}


def test_tables_of_a_run_hold_no_formulas_and_are_read_again(tmp_path):
    names = [text for text in FORMULAS if text.isprintable()]
    write_selection(tmp_path, folds=dict.fromkeys(names, 1), noisy_clips=pd.DataFrame({"fname": names, "margin": -0.5}))
    write_alike(tmp_path, [names])
    with ShardWriter(tmp_path / "shards", classes=["a"]) as writer:
        for name in names:
            writer.reject(clip=name, part="test", reason="=1+1")
    assert list(read_folds(tmp_path)) == list(read_noisy_clips(tmp_path)["fname"]) == names
    assert read_alike(tmp_path)[0] == list(read_rejected(tmp_path / "shards")["clip"]) == names
    assert read_list(tmp_path / "noisy.csv", names) == set(names)
    tables = list(tmp_path.rglob("*.csv"))
    assert len(tables) == 4 and not {text for table in tables for text in texts_in(table)} & {*names, "=1+1"} - {"''"}


def test_a_table_for_people_can_be_a_table_of_corrections(tmp_path):
    row = {"clip": "=1.wav", "labels": ["-b", "a"], "label": "-b", "probability": 0.1, "rank": 2}
    write_suspicious(tmp_path / "table.csv", [row | {"instead": "@c", "instead_probability": 0.9}])
    assert {"'=1.wav", "'-b,a", "'-b", "'@c", "0.1000"} < texts_in(tmp_path / "table.csv")
    problems = []
    classes = Classes(["-b", "a"], "x")
    found = read_corrections([tmp_path / "table.csv"], ["=1.wav"], classes, problems=problems)
    assert (found, problems) == ({"=1.wav": ["-b", "a"]}, [])


def test_gains_keep_their_signs(tmp_path):
    gain = {"label": "=a", "clips": 3, "scored": 2, "scores": [0.5], "expected": -0.25, "low": -0.5, "high": 0.0}
    _write_table(tmp_path / "table.csv", {"trainings": [{"share": 1}], "classes": [gain]})
    assert {"'=a", "-0.25", "-0.5"} < texts_in(tmp_path / "table.csv")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("every", [None, 2.0])
def test_tags_hold_no_formulas_and_control_no_terminal(monkeypatch, every):
    name, label = "=1\x1b]0;title\x07.wav", "-b\x1b[31m"
    for out, expected in (
        (io.StringIO(), [f"'{name}", f"'{label}"]),
        (Terminal(), ["'=1\\x1b]0;title\\x07.wav", "'-b\\x1b[31m"]),
    ):
        monkeypatch.setattr("sys.stdout", out)
        if every:
            FORMATS["csv"].write([(Path(name), Tag(0.0, 2.0, label, 0.5))], out)
        else:
            FORMATS["csv"].print_files([(name, [(label, 0.5)])])
        _, row = csv.reader(io.StringIO(out.getvalue(), newline=""))
        assert [field for field in row if not field[0].isdigit()] == expected


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "<img src=x>", "[a](javascript:b)", "![a](//b)", "a|b`c*"]
)
def test_names_are_neither_html_nor_links_in_a_card(name):
    markdown_it = pytest.importorskip("markdown_it")
    shown = markdown_it.MarkdownIt("commonmark", {"html": True}).render(ENVIRONMENT.filters["cell"](name))
    plain = markdown_it.MarkdownIt("zero").render(name)  # which knows no markup
    assert shown == plain
