"""What the examples in the docstrings of the library's public functions find in their folder."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def example_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run OUT and the folder sounds."""
    from helpers.example_run import write_example  # here, because other examples need no torch

    return write_example(tmp_path_factory.mktemp("example"))


@pytest.fixture(autouse=True)
def in_example_run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the examples of `audiotagging.api` there."""
    if request.node.name.startswith("audiotagging.api."):
        monkeypatch.chdir(request.getfixturevalue("example_run"))
