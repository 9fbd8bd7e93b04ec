"""Files and folders that are there when they are whole, and not before.

What is written lies beside its place, as `NAME.part`, until it is renamed. What a killed run left there is replaced.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Provide an empty folder that becomes `path` when the block ends without an error.

    Args:
        path: The folder to make; there is none of this name by then, or an empty one.
    """
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    part.replace(path)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Provide the name of a file to write that becomes `path` when the block ends without an error.

    Args:
        path: The file to make or to replace.
    """
    part = path.with_name(path.name + ".part")
    yield part
    part.replace(path)
