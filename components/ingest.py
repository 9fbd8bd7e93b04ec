"""The stage `ingest`."""

from typing import NamedTuple

from components.stage import stage


@stage(image="preprocess")
def ingest(data: str, seed: int, noisy: str) -> NamedTuple("Ingested", [("folder", str), ("fingerprint", str)]):  # type: ignore[valid-type]
    """Check the data before an hour is spent on it.

    Args:
        data: The data folder, or where to get it from.
        seed: Seed of the folds.
        noisy: Which noisy clips to use.

    Returns:
        The folder that holds the data, and a fingerprint of everything in it that later stages depend on.
    """
    from collections import namedtuple
    from pathlib import Path

    from audiotagging.dataset import fingerprint, read_dataset

    dataset = read_dataset(Path(data), seed=seed, noisy=noisy)
    Ingested = namedtuple("Ingested", ["folder", "fingerprint"])
    return Ingested(str(dataset.folder), fingerprint(dataset))
