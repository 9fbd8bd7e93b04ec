"""The stage `ingest`."""

from typing import NamedTuple

from components.stage import stage


@stage(image="data")
def ingest(
    data: str,
    rows: list,
    downloads: str,
    seed: int,
    noisy: str,
    max_rejected: float,
) -> NamedTuple("Ingested", [("folder", str), ("fingerprint", str)]):  # type: ignore[valid-type]
    """Bring the data, and check it before an hour is spent on it.

    Args:
        data: The data folder, or where to get it from.
        rows: Members and folds to train; a fold to hold out must have clips.
        downloads: Folder for what is downloaded and unpacked, which `preprocess` must see too.
        seed: Seed of the folds.
        noisy: Which noisy clips to use.
        max_rejected: Share of a part's clips that may be unreadable.

    Returns:
        The folder that holds the data, and a fingerprint of everything in it that later stages depend on.
    """
    from collections import namedtuple
    from pathlib import Path

    from audiotagging.data.ingest import ingest

    held_out = [int(row["fold"]) for row in rows]
    folder, fingerprint = ingest(
        data, downloads=Path(downloads), seed=seed, noisy=noisy, max_rejected=max_rejected, held_out=held_out
    )
    Ingested = namedtuple("Ingested", ["folder", "fingerprint"])
    return Ingested(str(folder), fingerprint)
