"""What the user can fix is one line and exit code 2; everything else is a defect, with a traceback in a file."""

import importlib
import inspect

import pytest
from helpers.modules import MODULES

from audiotagging.base.errors import MachineError, UserError
from audiotagging.data.verification import WrongSpectrogramError
from audiotagging.serving.turns import TurnOverError
from commands import check, main


def test_every_error_of_the_library_is_the_users_or_the_machines_or_a_defect_that_it_looked_for():
    found = {
        error
        for module in map(importlib.import_module, MODULES)
        for _, error in inspect.getmembers(module, inspect.isclass)
        if issubclass(error, Exception) and error.__module__.startswith("audiotagging.")
    }
    expected = (UserError, MachineError, WrongSpectrogramError, TurnOverError)  # the last is caught by what decodes
    assert len(found) > 3 and all(issubclass(error, expected) for error in found)


@pytest.mark.parametrize(
    "error", [UserError("expected a,\nfound b"), PermissionError(13, "Permission denied", "x.csv")]
)
def test_what_the_user_can_fix_is_one_line(capsys, monkeypatch, error):
    monkeypatch.setattr(check, "run", lambda args: (_ for _ in ()).throw(error))
    assert main(None, ["check", "--data", "x"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ") and printed.count("\n") == 1


SECRET = "wJalrXUtnFEMI"


@pytest.mark.parametrize(
    "text",
    [
        f"Invalid header value b'Bearer {SECRET}\\nx'",
        f"https://s3.example/clips.csv?X-Amz-Credential={SECRET}&X-Amz-Signature={SECRET}&list-type=2",
        f"https://x.blob.core.windows.net/a?se=2026&sig={SECRET}",
        f"https://storage.googleapis.com/a?GoogleAccessId=me&Signature={SECRET}",
        f"s3://user:{SECRET}@host/bucket is not there",
        f"Cookie: authservice_session={SECRET}; other={SECRET}",
        f"{{'Authorization': 'Basic {SECRET}'}}",
        f'{{"token": "{SECRET}", "name": "x"}}',
        f"AWS_SECRET_ACCESS_KEY={SECRET} is wrong",
        f"password={SECRET}",
    ],
)
def test_no_message_quotes_a_secret(text):
    assert SECRET not in str(UserError(text)) and "[hidden]" in str(UserError(text))


@pytest.mark.parametrize(
    "text",
    [
        "x.csv: expected a table, found none",
        "--token-file: expected a bearer token, one line without spaces, found basic information",
        "set AWS_SECRET_ACCESS_KEY or AWS_SESSION_TOKEN; --secret NAME holds them",
        "s3://bucket/dir: http://localhost:9000 does not answer",
    ],
)
def test_what_is_no_secret_is_shown(text):
    assert str(UserError(text)) == text


def test_a_message_is_one_line_of_500_characters_whose_end_says_what_to_do():
    missing = "\n".join(f"  x.z{number:05}," for number in range(65_535))
    message = str(UserError(f"x.zip:\n{missing} fetch them all"))
    assert len(message) == 500 and message.isprintable()
    assert message.startswith("x.zip: x.z00000, x.z00001, ") and message.endswith("x.z65534, fetch them all")


def test_what_would_control_a_terminal_is_escaped(capsys):
    name = "\x1b]0;title\x07red\x1b[31m\udcff\u202e.wav"
    assert str(UserError(f"{name}: not there")) == r"\x1b]0;title\x07red\x1b[31m\udcff\u202e.wav: not there"
    assert main(None, ["check", "--data", name]) == 2
    assert capsys.readouterr().err.strip().isprintable()


@pytest.mark.parametrize("arguments", [["x" * 10_000], ["check", "--max-rejected", "\x1b" * 1000], ["tag"]])
def test_wrong_arguments_are_one_short_line(capsys, arguments):
    assert main(None, arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and len(error) <= 501 and error[:-1].isprintable()
