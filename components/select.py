"""The stage `select`."""

from kfp.dsl import Dataset, Input, Output

from components.stage import stage


@stage(image="train")
def select(rows: list, noisy: str, seed: int, spectrograms: Input[Dataset], selection: Output[Dataset]) -> None:
    """Choose the noisy clips to train on.

    Args:
        rows: Members and folds to train; a shorter training of the first member judges the clips.
        noisy: How they are chosen; for all but "agreement" `preprocess` has left out the others already.
        seed: Seed of the judge's training.
        spectrograms: What `preprocess` made.
        selection: A folder with noisy.csv, which can be given as the list of noisy clips to a later run.
    """
    from pathlib import Path

    from audiotagging.agreement import select_noisy
    from audiotagging.members import Member
    from audiotagging.shards import read_fingerprint

    select_noisy(
        Path(spectrograms.path),
        noisy=noisy,
        member=Member.from_row(rows[0]),
        out=Path(selection.path),
        seed=seed,
        fingerprint=read_fingerprint(Path(spectrograms.path)),
    )
