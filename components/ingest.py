"""The stage `ingest`."""

from typing import NamedTuple

from components.stage import stage


@stage(image="data")
def ingest(
    data: str,
    rows: list,
    downloads: str,
    noisy: str,
    max_rejected: float,
) -> NamedTuple(  # type: ignore[valid-type]
    "Ingested", [("folder", str), ("fingerprint", str), ("noisy_part", bool), ("noisy_choice", dict)]
):
    """Bring the data, and check it before an hour is spent on it.

    Args:
        data: The data folder, or where to get it from.
        rows: Members and folds to train; a fold to hold out must have clips. The first member judges noisy clips.
        downloads: Folder for what is downloaded and unpacked, which `preprocess` must see too.
        noisy: Which noisy clips to train on.
        max_rejected: Share of a part's clips that may be unreadable.

    Returns:
        The folder that holds the data, a fingerprint of everything in it that the spectrograms depend on, whether the
        noisy part is needed, and which of its clips to train on, for `select`.
    """
    from collections import namedtuple
    from pathlib import Path

    from audiotagging.data.ingest import ingest

    found = ingest(data, rows=rows, downloads=Path(downloads), noisy=noisy, max_rejected=max_rejected)
    Ingested = namedtuple("Ingested", ["folder", "fingerprint", "noisy_part", "noisy_choice"])
    return Ingested(str(found.folder), found.fingerprint, noisy != "none", found.noisy_choice)
