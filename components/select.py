"""The stage `select`."""

from kfp.dsl import Dataset, Input, Output

from components.stage import stage


@stage(image="training")
def select(noisy_choice: dict, init: dict, seed: int, spectrograms: Input[Dataset], selection: Output[Dataset]) -> None:
    """Assign the curated clips to folds, and choose the noisy clips to train on.

    Args:
        noisy_choice: The choice of noisy clips, from `ingest`.
        init: The weights to start with, from `ingest`, for `train`.
        seed: Seed of the folds.
        spectrograms: The output of `preprocess`.
        selection: A folder with folds.csv and noisy.csv, and init.json if there are weights to start with.
    """
    from pathlib import Path

    from audiotagging.base.machine import Meter
    from audiotagging.training.select import select

    meter = Meter()
    select(Path(spectrograms.path), noisy_choice=noisy_choice, init=init, seed=seed, out=Path(selection.path))
    selection.metadata.update(meter.cost())
