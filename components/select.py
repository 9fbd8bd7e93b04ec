"""The stage `select`."""

from kfp.dsl import Dataset, Input, Output

from components.stage import stage


@stage(image="training")
def select(noisy_choice: dict, seed: int, spectrograms: Input[Dataset], selection: Output[Dataset]) -> None:
    """Deal the curated clips into folds, and choose the noisy clips to train on.

    Args:
        noisy_choice: Which noisy clips to train on, from `ingest`.
        seed: Seed of the folds, and of the training of the member that judges noisy clips.
        spectrograms: What `preprocess` made.
        selection: A folder with folds.csv and noisy.csv.
    """
    from pathlib import Path

    from audiotagging.training.select import select

    select(Path(spectrograms.path), noisy_choice=noisy_choice, seed=seed, out=Path(selection.path))
