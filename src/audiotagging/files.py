"""Files and folders that are there when they are whole, and not before; what they hold.

What is written lies beside its place, as `NAME.part`, until it is renamed, and is removed if that fails. What a killed
run left there is replaced.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from audiotagging.errors import UserError


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Provide an empty folder that becomes `path` when the block ends without an error.

    Args:
        path: The folder to make; there is none of this name by then, or an empty one.
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
def whole_file(path: Path) -> Iterator[Path]:
    """Provide the name of a file to write that becomes `path` when the block ends without an error.

    Args:
        path: The file to make or to replace.
    """
    part = path.with_name(path.name + ".part")
    try:
        yield part
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def read_json(path: Path, *keys: str) -> dict[str, Any]:
    """Return what a JSON file holds.

    Args:
        path: The file.
        keys: What it must hold.

    Raises:
        UserError: If it holds no JSON, or not this.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: expected JSON, found something else ({error}); put back what was there") from error
    if not isinstance(content, dict) or not content.keys() >= set(keys):
        raise UserError(f"{path}: expected {', '.join(keys)} in it, found others; put back what was there")
    return content


def require(folder: Path, *names: str, what: str) -> None:
    """Make sure that a folder is what it should be.

    Args:
        folder: The folder.
        names: Files and folders that it must hold.
        what: What it should be, for the message.

    Raises:
        UserError: If one of them is missing.
    """
    for name in names:
        if not (folder / name).exists():
            raise UserError(f"{folder}: expected {what}, found no {name} in it")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file for people to read too."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
