"""Working folders: folders beside the user's own that only one process at a time works in, and that are removed.

A marker in each of them says that this program made it. What has no marker was made by somebody else and is refused, so
that nothing of the user's is ever removed. The marker is also the lock of the folder.
"""

import contextlib
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from audiotagging.base.errors import UserError
from audiotagging.base.locks import file_lock
from audiotagging.base.removal import MARKER, is_marked, remove

logger = logging.getLogger(__name__)


@contextmanager
def working_folder(path: Path, *, wait: float = 0.0) -> Iterator[Path]:
    """Provide a folder that no other process works in until the block ends.

    It may contain what an interrupted process left there. When the block ends without an error, the folder is removed
    with all its content. After an error it is kept, unless it is empty.

    Args:
        path: The folder. It is created if needed.
        wait: Seconds to wait while another process works in it.

    Raises:
        UserError: If this program did not make the folder, or if another process works in it.
    """
    with ExitStack() as stack:
        while True:
            check_ours(path)
            path.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # another process has just removed the folder
                stack.enter_context(file_lock(path / MARKER, wait=wait))
                break
        try:
            yield path
        except BaseException:
            if not _content(path):
                _remove(path)
            raise
        _remove(path)


def check_ours(path: Path) -> None:
    """Check that a path is free for a working folder, or that this program made the folder there.

    An empty folder is free: a process that was killed may have left it, and nothing in it can be lost.

    Raises:
        UserError: If something else is there.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        found = "a link" if path.is_symlink() else "a file"
    elif path.is_dir() and not is_marked(path, MARKER) and any(path.iterdir()):
        found = f"a folder without {MARKER}, which this program did not make"
    else:
        return
    raise UserError(
        f"{path}: expected nothing of this name, because files are prepared there; found {found}; "
        "rename it, or name another folder for the results"
    )


def empty(path: Path) -> None:
    """Remove everything in a working folder."""
    for entry in _content(path):
        remove(path, entry.name)


def _content(path: Path) -> list[Path]:
    return [entry for entry in path.iterdir() if entry.name != MARKER]


def _remove(path: Path) -> None:
    """Remove a working folder, with the marker last, so that after an interruption the rest is still known as ours."""
    try:
        empty(path)
        remove(path, MARKER)
        path.rmdir()
    except OSError as error:  # by now the work is done; another process may also have taken the folder
        if path.exists():
            logger.warning("%s could not be removed (%s)", path, error.strerror)
