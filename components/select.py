"""The stage `select`."""

from kfp.dsl import Dataset, Input, Output

from components.stage import stage


@stage(image="training")
def select(judge: dict, seed: int, spectrograms: Input[Dataset], selection: Output[Dataset]) -> None:
    """Choose the noisy clips to train on.

    Args:
        judge: The row of the member that judges the clips; an empty one takes all that `preprocess` left.
        seed: Seed of the judge's training.
        spectrograms: What `preprocess` made.
        selection: A folder with noisy.csv, which can be given as the list of noisy clips to a later run.
    """
    from pathlib import Path

    from audiotagging.members import Member
    from audiotagging.training.noisy_selection import select_noisy

    select_noisy(
        Path(spectrograms.path),
        judge=Member.from_row(judge) if judge else None,
        out=Path(selection.path),
        seed=seed,
    )
