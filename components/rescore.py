"""The stage `rescore`."""

from kfp.dsl import Dataset, Input, Output

from components.stage import stage


@stage(image="training")
def rescore(averaged: Input[Dataset], spectrograms: Input[Dataset], champions: str, rescored: Output[Dataset]) -> None:
    """Let the best champion predict the labelled clips that are newer than it.

    Args:
        averaged: The output of `ensemble`.
        spectrograms: The output of `preprocess`.
        champions: Folder of the champion and other versions. An empty string disables this stage.
        rescored: A Parquet file, one row per clip and member, without rows if there is nothing to predict.
    """
    from pathlib import Path

    from audiotagging.base.machine import Meter
    from audiotagging.champions.rescoring import rescore

    meter = Meter()
    version = rescore(
        Path(averaged.path),
        spectrograms=Path(spectrograms.path),
        champions=Path(champions) if champions else None,
        out=Path(rescored.path),
    )
    rescored.metadata.update(version=version, **meter.cost())
