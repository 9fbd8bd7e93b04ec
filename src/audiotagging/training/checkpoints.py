"""Checkpoints of a run, in a local folder or an object store.

A checkpoint is one file with the SHA-256 digest of its content, followed by the state as `torch.save` writes it. It is
written under a temporary name and then renamed. The two newest checkpoints are kept, so that at least one intact
checkpoint is left whatever happens. A local folder of checkpoints is locked while it is in use; object stores have no
locks.
"""

import hashlib
import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pyarrow.fs import FileSelector, FileType, LocalFileSystem

from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_file
from audiotagging.base.full_disk import needing
from audiotagging.base.object_store import open_store
from audiotagging.base.working_folder import working_folder

KEPT = 2
WAIT = 120  # seconds: an interrupted process may still be writing its last checkpoint
DIGEST_BYTES = 32
SUFFIX = ".checkpoint"
CHECKPOINT_NAME = re.compile(rf"\d{{9,}}\{SUFFIX}")

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
        with needing(len(content)), self._atomic(path) as partial, self.files.open_output_stream(partial) as file:
            file.write(hashlib.sha256(content).digest())
            file.write(content)
        for old in self._paths()[:-KEPT]:
            self.files.delete_file(old)

    @contextmanager
    def _atomic(self, path: str) -> Iterator[str]:
        """Provide a temporary path that is renamed at the end of the block. A store's files are safe once written."""
        if isinstance(self.files, LocalFileSystem):
            with atomic_file(Path(path)) as partial:
                yield str(partial)
        else:
            yield f"{path}.part"
            self.files.move(f"{path}.part", path)

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
        return sorted(
            info.path for info in found if CHECKPOINT_NAME.fullmatch(info.base_name) and info.type == FileType.File
        )


@contextmanager
def run_checkpoints(root: str, *, identity: dict[str, Any]) -> Iterator[Checkpoints | None]:
    """Provide the checkpoints of a run, and remove them when the run is complete.

    A run that fails or is interrupted keeps its checkpoints, so that the next attempt resumes from them.

    Args:
        root: A folder or URI that contains one folder per run, named by a hash of its identity. An empty string
            disables checkpoints.
        identity: The settings that identify the run.

    Raises:
        UserError: If another process uses the same local folder and does not end within `WAIT` seconds.
    """
    name = hashlib.sha256(repr(sorted(identity.items())).encode()).hexdigest()[:16]
    uri = f"{root.rstrip('/')}/{name}"
    if not root:
        yield None
    elif "://" in uri:
        kept = Checkpoints(uri, identity=identity)
        yield kept
        if kept.files.get_file_info(kept.folder).type == FileType.Directory:
            kept.files.delete_dir(kept.folder)
    else:
        with working_folder(Path(uri), wait=WAIT):
            yield Checkpoints(uri, identity=identity)
