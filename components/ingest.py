"""The stage `ingest`."""

from typing import NamedTuple

from components.stage import stage


@stage(image="preprocess")
def ingest(data: str, downloads: str, seed: int, noisy: str) -> NamedTuple(  # type: ignore[valid-type]
    "Ingested", [("folder", str), ("fingerprint", str)]
):
    """Bring the data, and check it before an hour is spent on it.

    Args:
        data: The data folder, or where to get it from.
        downloads: Folder for what is downloaded and unpacked, which `preprocess` must see too.
        seed: Seed of the folds.
        noisy: Which noisy clips to use.

    Returns:
        The folder that holds the data, and a fingerprint of everything in it that later stages depend on.
    """
    from collections import namedtuple
    from pathlib import Path

    from audiotagging.ingest import ingest

    folder, fingerprint = ingest(data, downloads=Path(downloads), seed=seed, noisy=noisy)
    Ingested = namedtuple("Ingested", ["folder", "fingerprint"])
    return Ingested(str(folder), fingerprint)
