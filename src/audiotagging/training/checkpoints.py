"""Checkpoints of a run, in a folder or an object store.

A checkpoint is one file: the SHA-256 of what follows, then what `torch.save` made of the state. It is written beside
its place and renamed, and the newest two are kept, so that whatever happens one whole checkpoint is left.
"""

import hashlib
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pyarrow.fs import FileSelector, FileType, LocalFileSystem

from audiotagging.errors import UserError
from audiotagging.object_store import open_store

KEPT = 2
DIGEST_BYTES = 32
SUFFIX = ".checkpoint"

logger = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one run.

    Attributes:
        identity: What makes the run this run and not another; a checkpoint of another one is refused.
    """

    def __init__(self, uri: str, *, identity: dict[str, Any]):
        """Open the folder of the checkpoints, which need not exist yet.

        Args:
            uri: A folder, here or in an object store, as s3://bucket/run.
            identity: Names and plain values: str, int, float, bool or None.
        """
        self.identity = identity
        self.files, self.folder = open_store(uri) if "://" in uri else (LocalFileSystem(), uri)

    def write(self, step: int, state: dict[str, Any]) -> None:
        """Write a checkpoint whole or not at all, then remove all but the newest two.

        Args:
            step: Steps done; a newer checkpoint has more.
            state: Tensors and plain values, nested in dicts and lists.
        """
        buffer = io.BytesIO()
        torch.save({"identity": self.identity, "state": state}, buffer)
        content = buffer.getbuffer()
        path = f"{self.folder}/{step:09d}{SUFFIX}"
        self.files.create_dir(self.folder)
        with self.files.open_output_stream(path + ".part") as file:
            file.write(hashlib.sha256(content).digest())
            file.write(content)
        self.files.move(path + ".part", path)
        for old in self._paths()[:-KEPT]:
            self.files.delete_file(old)

    def latest(self) -> dict[str, Any] | None:
        """Return the state of the newest checkpoint that is whole, None if there is none.

        Raises:
            UserError: If it is another run's.
        """
        for path in reversed(self._paths()):
            with self.files.open_input_stream(path) as file:
                content = file.readall()
            digest, content = content[:DIGEST_BYTES], memoryview(content)[DIGEST_BYTES:]
            if hashlib.sha256(content).digest() != digest:
                logger.warning("%s is damaged and is left out", path)
                continue
            checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            self._check(path, checkpoint["identity"])
            logger.info("resuming from %s", path)
            return checkpoint["state"]
        return None

    def remove(self) -> None:
        """Remove all checkpoints and their folder."""
        if self.files.get_file_info(self.folder).type == FileType.Directory:
            self.files.delete_dir(self.folder)

    def _check(self, path: str, found: dict[str, Any]) -> None:
        for name, expected in self.identity.items():
            if found.get(name) != expected:
                raise UserError(
                    f"{path}: expected a checkpoint with {name} {expected!r}, found {found.get(name)!r}; "
                    "delete it to begin again, or name another folder for the checkpoints"
                )

    def _paths(self) -> list[str]:
        """Return the paths of all checkpoints, the oldest first."""
        found = self.files.get_file_info(FileSelector(self.folder, allow_not_found=True))
        return sorted(info.path for info in found if info.path.endswith(SUFFIX))


@contextmanager
def run_checkpoints(root: str, *, identity: dict[str, Any]) -> Iterator[Checkpoints | None]:
    """Provide the checkpoints of one run and no other, and remove them when the run is done.

    What fails or is interrupted leaves them, and resumes from them when it is tried again.

    Args:
        root: A folder or URI, in which the run's folder is named by its identity; empty for no checkpoints.
        identity: What makes the run this run and not another.
    """
    if not root:
        yield None
        return
    name = hashlib.sha256(repr(sorted(identity.items())).encode()).hexdigest()[:16]
    kept = Checkpoints(f"{root.rstrip('/')}/{name}", identity=identity)
    yield kept
    kept.remove()
