"""The pipeline's parameters as options, in the order and as often as they are given."""

import argparse

import pytest

from audiotagging.members import DEMO, REFERENCE
from commands import parameters


def rows_of(*options):
    parser = argparse.ArgumentParser()
    parameters.add_parameters(parser)
    return parameters.parameters(parser.parse_args(["--data", "x", *options]))["rows"]


@pytest.mark.parametrize(
    ("once", "repeated"),
    [
        (["--members", DEMO[0].id, REFERENCE[1].id], ["--members", DEMO[0].id, "--members", REFERENCE[1].id]),
        (["--members", "reference"], ["--members", REFERENCE[0].id, "--members", "reference"]),
        (["--set", "epochs=1", "size=32"], ["--set", "epochs=1", "--set", "size=32", "epochs=1"]),
        (["--folds=-1,0,3"], ["--folds=-1,0", "--folds=3", "--folds=0"]),
        (["--folds=-1,0"], ["--folds=all,0"]),
    ],
)
def test_repeated_options_add_up(once, repeated):
    assert rows_of(*repeated) == rows_of(*once) != rows_of()


def test_the_default_is_not_added():
    assert {row["fold"] for row in rows_of("--folds=0", "--folds=1")} == {0, 1}
    assert {row["id"] for row in rows_of("--members", REFERENCE[0].id)} == {REFERENCE[0].id}
    assert rows_of() == rows_of()  # nothing is kept from one call to the next
