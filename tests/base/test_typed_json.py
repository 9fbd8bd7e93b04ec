import json
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict

import pytest

from audiotagging.base.errors import UserError
from audiotagging.base.typed_json import convert, parse_json, read_json, write_json


class Facts(TypedDict):
    name: str
    note: NotRequired[str | None]


@dataclass
class Run:
    epochs: int
    lr: float
    tail: bool
    facts: Facts
    folds: list[int] = field(default_factory=list)
    scores: dict[str, float] | None = None


PLAIN = {"epochs": 3, "lr": 0.5, "tail": True, "facts": {"name": "ä"}}
ALL = PLAIN | {"folds": [0, -1], "scores": {"x": 1.5, "y": -2}, "facts": {"name": "", "note": None}}


def test_what_is_written_is_read(tmp_path):
    write_json(tmp_path / "run.json", PLAIN | {"of a later version": [{}]})
    assert read_json(tmp_path / "run.json", Run) == Run(3, 0.5, True, {"name": "ä"}, [], None)
    write_json(tmp_path / "run.json", ALL)
    assert read_json(tmp_path / "run.json", Run) == Run(**ALL)
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8")) == ALL


def test_whole_numbers_may_be_floats_and_floats_whole():
    found = convert(PLAIN | {"epochs": 3.0, "lr": 1}, Run)
    assert (found.epochs, type(found.epochs), found.lr, type(found.lr)) == (3, int, 1.0, float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": "3"}, 'expected epochs to be a whole number, found "3"'),
        ({"epochs": 3.5}, "expected epochs to be a whole number, found 3.5"),
        ({"epochs": True}, "expected epochs to be a whole number, found true"),
        ({"epochs": float("nan")}, "expected epochs to be a whole number, found NaN"),
        ({"epochs": 2**63}, "expected epochs to be a whole number, found 9223372036854775808"),
        ({"lr": None}, "expected lr to be a number, found null"),
        ({"lr": float("inf")}, "expected lr to be a number, found Infinity"),
        ({"lr": 10**400}, "expected lr to be a number, found 1000"),
        ({"tail": 1}, "expected tail to be true or false, found 1"),
        ({"facts": []}, "expected facts to be an object, found a list"),
        ({"facts": {}}, "expected the key facts.name, found no such key"),
        ({"facts": {"name": 7}}, "expected facts.name to be text, found 7"),
        ({"facts": {"name": "\ud800"}}, r'expected facts.name to be text, found "\\ud800"'),
        ({"facts": {"name": "", "note": 7}}, "expected facts.note to be text, found 7"),
        ({"folds": {"0": 1}}, "expected folds to be a list, found an object"),
        ({"folds": [0, [1]]}, r"expected folds\[1\] to be a whole number, found a list"),
        ({"scores": {"x": "1"}}, 'expected scores.x to be a number, found "1"'),
        ({"scores": {"\ud800": 1}}, "expected scores to be text, found"),
        ({"lr": "x" * 1000}, "expected lr to be a number, found .{80}"),
    ],
)
def test_other_types_are_refused_by_file_and_key(tmp_path, change, message):
    (tmp_path / "run.json").write_text(json.dumps(PLAIN | change))
    with pytest.raises(UserError, match=rf"run\.json: {message}.*; restore the original file$"):
        read_json(tmp_path / "run.json", Run)


@pytest.mark.parametrize("name", PLAIN)
def test_a_missing_key_is_named(name):
    with pytest.raises(UserError, match=f"here: expected the key {name}, found no such key; restore"):
        parse_json(json.dumps({key: value for key, value in PLAIN.items() if key != name}), Run, source="here")


@pytest.mark.parametrize(
    "content",
    [b"", b'{"a": 1', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b'{"a": 1, "a": 2}', b"1" * 5000, b"\0\0\0\0"],
)
def test_what_is_not_json_is_refused_by_its_file(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(UserError, match=r"run\.json: expected JSON, found something else \(.{,80}\); restore") as error:
        read_json(tmp_path / "run.json", Run)
    assert "\n" not in str(error.value)


def test_nesting_below_a_key_that_nobody_reads_does_not_matter():
    text = json.dumps(PLAIN)[:-1] + ', "more": ' + "[" * 500 + "]" * 500 + "}"
    assert parse_json(text, Run, source="") == convert(PLAIN, Run)
