"""The stage `find` of the pipeline `tagging`."""

from typing import NamedTuple

from kfp.dsl import Dataset, Output

from components.stage import stage


@stage(image="tagging")
def find(
    data: str,
    out: str,
    models: str,
    window: float,
    overlap: float,
    merge: bool,
    top: int,
    precision: float,
    shards: int,
    new: Output[Dataset],
) -> NamedTuple("Found", [("batch", dict), ("shards", list), ("work", int)]):  # type: ignore[valid-type]
    """Find the sounds that are new or have changed since they were tagged, or whose champion has changed.

    Args:
        data: Folder or URL of the sounds.
        out: Folder or URL of the results.
        models: The champions folder, or the output of a run.
        window: Length of a window in seconds.
        overlap: How many seconds of a window the next window covers too.
        merge: Whether neighbours of one label are merged.
        top: Largest number of tags per window.
        precision: The promised precision of the tags. 0 if all scores count.
        shards: The largest number of shards to divide the sounds into.
        new: A Parquet file, one row per sound.

    Returns:
        What the stages of the batch have in common, the version of the champion for example; the numbers of the shards;
        and how many there are.
    """
    from collections import namedtuple
    from dataclasses import asdict
    from pathlib import Path

    from audiotagging.tagging.batch_results import Options
    from audiotagging.tagging.batches import find

    options = Options(window=window, overlap=overlap, merge=merge, top=top, precision=precision)
    batch, numbers = find(data, out=out, models=Path(models), options=options, shards=shards, new=Path(new.path))
    Found = namedtuple("Found", ["batch", "shards", "work"])
    return Found(asdict(batch), [str(number) for number in numbers], len(numbers))
