"""The stage `train`."""

from kfp.dsl import Dataset, Input, Model, Output

from components.stage import stage


@stage(image="train")
def train(row: dict, spectrograms: Input[Dataset], seed: int, checkpoints: str, model: Output[Model]) -> None:
    """Train one member with one fold held out.

    Args:
        row: A row of `audiotagging.members.rows`: the fields of a Member and `fold`.
        spectrograms: What `preprocess` made.
        seed: Seed of the run; every member and fold derives its own from it.
        checkpoints: Folder or URI under which an interrupted training is found again; empty for none.
        model: A folder with weights.safetensors, member.json and history.parquet.
    """
    from pathlib import Path

    from audiotagging.members import Member
    from audiotagging.shards import read_fingerprint
    from audiotagging.training import train

    member, fold = Member.from_row(row), int(row["fold"])
    train(
        member,
        fold=fold,
        spectrograms=Path(spectrograms.path),
        out=Path(model.path),
        seed=seed,
        fingerprint=read_fingerprint(Path(spectrograms.path)),
        checkpoints=checkpoints or None,
    )
    model.metadata.update(member=member.id, fold=fold)
