"""What the user can fix is one line and exit code 2; everything else is a defect, with a traceback in a file."""

import importlib
import inspect

import pytest
from test_layers import MODULES

from audiotagging.errors import UserError
from commands import check, main


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
