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

import fsspec
import torch

from audiotagging.errors import UserError

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
            uri: A folder, or any URI that fsspec knows, such as s3://bucket/run (with the package that it needs).
            identity: Names and plain values: str, int, float, bool or None.
        """
        self.identity = identity
        self.files, self.folder = fsspec.core.url_to_fs(uri)

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
        self.files.makedirs(self.folder, exist_ok=True)
        with self.files.open(path + ".part", "wb") as file:
            file.write(hashlib.sha256(content).digest())
            file.write(content)
        self.files.mv(path + ".part", path)
        for old in self._paths()[:-KEPT]:
            self.files.rm(old)

    def latest(self) -> dict[str, Any] | None:
        """Return the state of the newest checkpoint that is whole, None if there is none.

        Raises:
            UserError: If it is another run's.
        """
        for path in reversed(self._paths()):
            content = self.files.cat_file(path)
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
        if self.files.exists(self.folder):
            self.files.rm(self.folder, recursive=True)

    def _check(self, path: str, found: dict[str, Any]) -> None:
        for name, expected in self.identity.items():
            if found.get(name) != expected:
                raise UserError(
                    f"{path}: expected a checkpoint with {name} {expected!r}, found {found.get(name)!r}; "
                    "delete it to begin again, or name another folder for the checkpoints"
                )

    def _paths(self) -> list[str]:
        """Return the paths of all checkpoints, the oldest first."""
        self.files.invalidate_cache()
        if not self.files.exists(self.folder):
            return []
        return sorted(path for path in self.files.ls(self.folder, detail=False) if path.endswith(SUFFIX))


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
