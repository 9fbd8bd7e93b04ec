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
    keep_audio: bool,
    verify: int,
    mean: str,
    weights: str,
    champions: str,
    promotion: str,
    margin: float,
    warm_start: float,
    if_changed: bool,
) -> NamedTuple(  # type: ignore[valid-type]
    "Ingested",
    [
        ("folder", str),
        ("fingerprint", str),
        ("noisy_part", bool),
        ("noisy_choice", dict),
        ("split_seed", int),
        ("init", dict),
        ("inputs", dict),
        ("work", int),
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
        keep_audio: This and the next ones are arguments of later stages: whether to keep excerpts of clips.
        verify: Number of clips whose spectrograms are checked.
        mean: How the members are averaged.
        weights: Weights of the members.
        champions: Folder of the champion and other versions, or an empty string.
        promotion: Which ensembles to promote.
        margin: The lwlrap that a champion may lose.
        warm_start: Share of the epochs to train when starting with the champion's weights.
        if_changed: Whether the run ends here if nothing has changed since the last one that ended well.

    Returns:
        The data folder, a fingerprint of what the spectrograms depend on, whether the noisy part is needed, the choice
        of noisy clips for `select`, the seed for `preprocess` (0 if the clips do not depend on it, so that a cache
        serves all seeds), the weights to start with for `train`, everything that the results depend on for `conclude`,
        whether there is work to do (0 or 1), and what this stage cost, for the report.
    """
    import os
    from collections import namedtuple
    from pathlib import Path

    from audiotagging.artifacts.initial_weights import describe_init
    from audiotagging.artifacts.last_run import IMAGES, as_inputs, find_news
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
    start = describe_init(resolve_init(init, downloads=Path(downloads)))
    inputs = as_inputs(
        {
            "images": os.environ.get(IMAGES, ""),
            "data": [data, found.fingerprint, found.split_seed],
            "rows": rows,
            "noisy": [noisy, found.noisy_choice],
            "corrections": corrections,
            "reading": reading,
            "max_rejected": max_rejected,
            "test_share": test_share,
            "seed": seed,
            "init": [init, start],
            "keep_audio": keep_audio,
            "verify": verify,
            "mean": mean,
            "weights": weights,
            "promotion": promotion,
            "margin": margin,
            "warm_start": warm_start,
        }
    )
    work = 1 if not (if_changed and champions) or find_news(Path(champions), inputs) else 0
    Ingested = namedtuple(
        "Ingested",
        ["folder", "fingerprint", "noisy_part", "noisy_choice", "split_seed", "init", "inputs", "work", "cost"],
    )
    return Ingested(
        folder=str(found.folder),
        fingerprint=found.fingerprint,
        noisy_part=noisy != "none",
        noisy_choice=found.noisy_choice,
        split_seed=found.split_seed,
        init=start,
        inputs=inputs,
        work=work,
        cost=meter.cost(),
    )
