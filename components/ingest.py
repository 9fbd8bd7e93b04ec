"""The stage `ingest`."""

from typing import NamedTuple

from components.stage import stage


@stage(image="data")
def ingest(
    data: str,
    rows: list,
    downloads: str,
    noisy: str,
    corrections: list,
    reading: dict,
    max_rejected: float,
    test_share: float,
    seed: int,
    init: str,
) -> NamedTuple(  # type: ignore[valid-type]
    "Ingested",
    [
        ("folder", str),
        ("fingerprint", str),
        ("noisy_part", bool),
        ("noisy_choice", dict),
        ("split_seed", int),
        ("init", dict),
        ("cost", dict),
    ],
):
    """Get the data, and check them before any long computation starts.

    Args:
        data: The data folder, or the source of the data.
        rows: Members and folds to train. A fold to hold out must have clips.
        downloads: Folder for downloads, unpacked archives and the digests of sounds. The stage `preprocess` must be
            able to read it too.
        noisy: The noisy clips to train on.
        corrections: Paths of tables of corrected labels, relative to the data folder.
        reading: How the user wants the data folder to be read (`audiotagging.data.layouts.reading`).
        max_rejected: Share of a part's clips that may be unreadable.
        test_share: Share of the clips of every class to make test clips. 0 if the data have them, or for none.
        seed: Seed of the draw of test clips, and of the folds of groups.
        init: The weights to start with: a path or a URL. An empty string means new weights.

    Returns:
        The data folder, a fingerprint of what the spectrograms depend on, whether the noisy part is needed, the choice
        of noisy clips for `select`, the seed for `preprocess` (0 if the clips do not depend on it, so that a cache
        serves all seeds), the weights to start with for `train`, and what this stage cost, for the report.
    """
    from collections import namedtuple
    from pathlib import Path

    from audiotagging.artifacts.initial_weights import describe_init
    from audiotagging.base.machine import Meter
    from audiotagging.data.ingest import ingest
    from audiotagging.data.layouts.reading import Reading
    from audiotagging.data.sources import resolve_init

    meter = Meter()
    found = ingest(
        data,
        rows=rows,
        downloads=Path(downloads),
        noisy=noisy,
        corrections=corrections,
        reading=Reading.from_dict(reading),
        max_rejected=max_rejected,
        test_share=test_share,
        seed=seed,
    )
    weights = describe_init(resolve_init(init, downloads=Path(downloads)))
    Ingested = namedtuple(
        "Ingested", ["folder", "fingerprint", "noisy_part", "noisy_choice", "split_seed", "init", "cost"]
    )
    choice, seed = found.noisy_choice, found.split_seed
    return Ingested(str(found.folder), found.fingerprint, noisy != "none", choice, seed, weights, meter.cost())
