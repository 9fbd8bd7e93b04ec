"""The identity of a training run: everything that determines its final weights."""

import hashlib
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from audiotagging.members import Member

# The modules that determine the weights.
CODE = (
    "augmentation",
    "devices",
    "linear_model",
    "loop",
    "losses",
    "networks",
    "one_cycle",
    "published_names",
    "spectrogram_store",
    "train",
    "training_data",
    "weights_file",
)


def run_identity(
    member: Member,
    *,
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
        "code version": code_version(),
        "initial weights": start,
        "held-out clips": _hash("\n".join(sorted(held_out)).encode()),
        "noisy clips": _hash("\n".join(sorted(noisy_clips)).encode()),
    }


def run_seed(member: Member, *, fold: int, seed: int) -> int:
    """Derive the seed of a run, which differs between members and folds."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{member.id}/{fold}".encode()).digest()[:8], "big")


def code_version() -> str:
    """Return a hash of the modules that determine the weights."""
    folder = Path(__file__).parent
    return _hash(b"".join((folder / f"{name}.py").read_bytes() for name in CODE))[:12]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
