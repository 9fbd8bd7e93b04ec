"""Atomic files and folders, which appear only when they are complete, and JSON files.

A new file or folder is written as `NAME.part` in the same directory and then renamed. It is removed if an error occurs.
What a killed process left under that name is replaced.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from audiotagging.errors import UserError


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Provide an empty folder that is renamed to `path` when the block ends without an error.

    Args:
        path: The folder to create. If it exists when the block ends, it must be empty.
    """
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        part.replace(path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Provide the path of a temporary file that is renamed to `path` when the block ends without an error.

    Args:
        path: The file to create or replace.

    Examples:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with atomic_file(folder / "scores.json") as part:
        ...     write_json(part, {"lwlrap": 0.75})
        ...     print([file.name for file in folder.iterdir()])
        ['scores.json.part']
        >>> [file.name for file in folder.iterdir()]
        ['scores.json']
    """
    part = path.with_name(path.name + ".part")
    try:
        yield part
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def read_json(path: Path, *keys: str) -> dict[str, Any]:
    """Read a JSON object from a file.

    Args:
        path: The file.
        keys: Keys that the object must have.

    Raises:
        UserError: If the file contains no JSON object with these keys.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: expected JSON, found something else ({error}); restore the original file") from error
    if not isinstance(content, dict) or not content.keys() >= set(keys):
        raise UserError(
            f"{path}: expected an object with {', '.join(keys)}, found something else; restore the original file"
        )
    return content


def require(folder: Path, *names: str, what: str) -> None:
    """Check that a folder contains what it should.

    Args:
        folder: The folder.
        names: Files and folders that it must contain.
        what: What the folder should be, for the message, such as "the output of a run".

    Raises:
        UserError: If one of them is missing.
    """
    for name in names:
        if not (folder / name).exists():
            raise UserError(f"{folder}: expected {what}, found no {name} in it")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file that is indented for readers."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
