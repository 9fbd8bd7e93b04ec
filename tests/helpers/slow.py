"""Marks what `make test` leaves to `make test-all`."""

import pytest


def slow_but(rows, *quick):
    """Return the rows of a table for `parametrize`. All but the quick ones show the same once more, and are slow.

    A row of several arguments is a tuple.
    """
    rows = list(rows)
    assert set(quick) <= set(rows)
    arguments = [row if isinstance(row, tuple) else (row,) for row in rows]
    marks = [() if row in quick else pytest.mark.slow for row in rows]
    return [pytest.param(*each, marks=mark) for each, mark in zip(arguments, marks, strict=True)]
