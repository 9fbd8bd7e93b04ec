"""Checkpoints of a run, in a local folder or an object store.

A checkpoint is one file with the SHA-256 digest of its content, followed by the state as `torch.save` writes it. It is
written under a temporary name and then renamed. The two newest checkpoints are kept, so that at least one intact
checkpoint is left whatever happens.
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
        identity: The settings that identify the run. A checkpoint of another run is refused.
    """

    def __init__(self, uri: str, *, identity: dict[str, Any]):
        """Open the folder of the checkpoints. It need not exist yet.

        Args:
            uri: A local folder, or a folder in an object store such as s3://bucket/run.
            identity: The settings that identify the run: names with plain values (str, int, float, bool or None).
        """
        self.identity = identity
        self.files, self.folder = open_store(uri) if "://" in uri else (LocalFileSystem(), uri)

    def write(self, step: int, state: dict[str, Any]) -> None:
        """Write a checkpoint atomically, then remove all but the two newest.

        Args:
            step: Number of completed steps. A newer checkpoint has more steps.
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
        """Return the state of the newest intact checkpoint, or None if there is none.

        Raises:
            UserError: If the checkpoint belongs to another run.
        """
        for path in reversed(self._paths()):
            with self.files.open_input_stream(path) as file:
                content = file.readall()
            digest, content = content[:DIGEST_BYTES], memoryview(content)[DIGEST_BYTES:]
            if hashlib.sha256(content).digest() != digest:
                logger.warning("ignoring %s, which is corrupt", path)
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
                    "delete it to start over, or name another folder for the checkpoints"
                )

    def _paths(self) -> list[str]:
        """Return the paths of all checkpoints, oldest first."""
        found = self.files.get_file_info(FileSelector(self.folder, allow_not_found=True))
        return sorted(info.path for info in found if info.path.endswith(SUFFIX))


@contextmanager
def run_checkpoints(root: str, *, identity: dict[str, Any]) -> Iterator[Checkpoints | None]:
    """Provide the checkpoints of a run, and remove them when the run is complete.

    A run that fails or is interrupted keeps its checkpoints, so that the next attempt resumes from them.

    Args:
        root: A folder or URI that contains one folder per run, named by a hash of its identity. An empty string
            disables checkpoints.
        identity: The settings that identify the run.
    """
    if not root:
        yield None
        return
    name = hashlib.sha256(repr(sorted(identity.items())).encode()).hexdigest()[:16]
    kept = Checkpoints(f"{root.rstrip('/')}/{name}", identity=identity)
    yield kept
    kept.remove()
