"""The identity of a training run: everything that determines its final weights."""

import functools
import hashlib
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from audiotagging.base.import_closure import import_closure
from audiotagging.members import Member

PACKAGE = Path(__file__).parents[1]


def run_identity(
    member: Member,
    *,
    module: str,
    fold: int,
    seed: int,
    fingerprint: str,
    precision: str,
    start: str | None,
    held_out: Collection[str],
    noisy_clips: Collection[str],
) -> dict[str, Any]:
    """Return everything that determines the final weights of a run, by name.

    Args:
        member: The member.
        module: Name of the module that trains it.
        fold: The fold that is held out, or -1 for none.
        seed: Seed of the run.
        fingerprint: Fingerprint of the data.
        precision: "auto" or "float32", as in `devices.autocast`.
        start: Digest of the weights that the run starts with, or None for new weights.
        held_out: Names of the curated clips of the fold, in any order.
        noisy_clips: Names of the noisy clips to train on, in any order.

    Returns:
        Plain values: str, int, float, bool or None.
    """
    fields = {f"member {name}": value for name, value in asdict(member).items()}
    return fields | {
        "fold": fold,
        "seed": seed,
        "data fingerprint": fingerprint,
        "precision": precision,
        "torch": str(torch.__version__),
        "code version": code_version(module),
        "initial weights": start,
        "held-out clips": _hash("\n".join(sorted(held_out)).encode()),
        "noisy clips": _hash("\n".join(sorted(noisy_clips)).encode()),
    }


def run_seed(member: Member, *, fold: int, seed: int) -> int:
    """Derive the seed of a run, which differs between members and folds."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{member.id}/{fold}".encode()).digest()[:8], "big")


@functools.cache
def code_version(module: str) -> str:
    """Return a hash of the code that determines what a module computes: of its file, and of those that it imports."""
    digest = hashlib.sha256()
    for path in sorted(import_closure([module], [PACKAGE])):
        digest.update(f"{path.relative_to(PACKAGE)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:12]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
