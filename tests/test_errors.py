"""What the user can fix is one line and exit code 2; everything else is a defect, with a traceback."""

import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest
from test_layers import MODULES

from audiotagging.errors import UserError
from commands import check, main
from commands.local.runner import StageError


def test_every_error_of_the_library_is_the_users():
    found = {
        error
        for module in map(importlib.import_module, MODULES)
        for _, error in inspect.getmembers(module, inspect.isclass)
        if issubclass(error, Exception) and error.__module__.startswith("audiotagging.")
    }
    assert len(found) > 3 and all(issubclass(error, UserError) for error in found)


@pytest.mark.parametrize(
    "error", [UserError("expected a,\nfound b"), PermissionError(13, "Permission denied", "x.csv")]
)
def test_what_the_user_can_fix_is_one_line(capsys, monkeypatch, error):
    monkeypatch.setattr(check, "run", lambda args: (_ for _ in ()).throw(error))
    assert main(None, ["check", "--data", "x"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ") and printed.count("\n") == 1


@pytest.mark.parametrize("defect", [lambda: np.zeros(3).reshape(2, 2), lambda: [][1]])
def test_a_defect_says_so_and_shows_where_it_is(capsys, monkeypatch, defect):
    monkeypatch.setattr(check, "run", lambda args: defect())
    assert main(None, ["check", "--data", "x"]) == 1
    printed = capsys.readouterr().err
    assert "Traceback" in printed and Path(__file__).name in printed and "this is a defect of the program" in printed


@pytest.mark.parametrize(
    ("kind", "by_user"),
    [
        ("audiotagging.errors.UserError", True),
        ("audiotagging.data.dataset.DataError", True),
        ("PermissionError", True),
        ("OSError", True),
        ("ValueError", False),
        ("MemoryError", False),
        ("numpy.exceptions.AxisError", False),
        ("", False),
    ],
)
def test_a_stage_that_fails_is_the_users_fault_only_if_its_error_says_so(kind, by_user):
    assert StageError("train", kind, "message", Path("log.txt")).by_user == by_user
