"""The stage `promote`."""

from kfp.dsl import Dataset, Input, Model

from components.stage import stage


@stage(image="results")
def promote(averaged: Input[Dataset], models: Input[list[Model]], spectrograms: Input[Dataset], location: str) -> dict:
    """Make the ensemble the champion unless it is worse than the one there is.

    Args:
        averaged: What `ensemble` made.
        models: What every `train` made.
        spectrograms: What `preprocess` made.
        location: Folder of the champion and earlier versions; empty to leave all as it is.

    Returns:
        What was decided and why, for the report; empty if nothing was.
    """
    if not location:
        return {}

    from pathlib import Path

    from audiotagging.results.promotion import promote

    return promote(
        Path(averaged.path),
        models=[Path(model.path) for model in models],
        spectrograms=Path(spectrograms.path),
        location=Path(location),
    )
