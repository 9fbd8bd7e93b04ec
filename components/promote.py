"""The stage `promote`."""

from kfp.dsl import Dataset, Input, Model

from components.stage import stage


@stage(image="results")
def promote(averaged: Input[Dataset], models: Input[list[Model]], spectrograms: Input[Dataset], champions: str) -> dict:
    """Make the ensemble the champion, unless it is worse than the current champion.

    Args:
        averaged: The output of `ensemble`.
        models: The outputs of all `train` tasks.
        spectrograms: The output of `preprocess`.
        champions: Folder of the champion and earlier versions. An empty string disables this stage.

    Returns:
        The decision and its reason, for the report. Empty if this stage is disabled.
    """
    if not champions:
        return {}

    from pathlib import Path

    from audiotagging.results.promotion import promote

    decision = promote(
        Path(averaged.path),
        models=[Path(model.path) for model in models],
        spectrograms=Path(spectrograms.path),
        champions=Path(champions),
    )
    return dict(decision)
