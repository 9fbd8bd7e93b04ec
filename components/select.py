"""The stage `select`."""

from kfp.dsl import Dataset, Input, Output

from components.stage import stage


@stage(image="training")
def select(noisy_choice: dict, seed: int, spectrograms: Input[Dataset], selection: Output[Dataset]) -> None:
    """Assign the curated clips to folds, and choose the noisy clips to train on.

    Args:
        noisy_choice: The choice of noisy clips, from `ingest`.
        seed: Seed of the folds.
        spectrograms: The output of `preprocess`.
        selection: A folder with folds.csv and noisy.csv.
    """
    from pathlib import Path

    from audiotagging.base.machine import Meter
    from audiotagging.training.select import select

    meter = Meter()
    select(Path(spectrograms.path), noisy_choice=noisy_choice, seed=seed, out=Path(selection.path))
    selection.metadata.update(meter.cost())
