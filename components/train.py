"""The stage `train`."""

from kfp.dsl import Dataset, Input, Model, Output

from components.stage import stage


@stage(image="training")
def train(
    row: dict,
    spectrograms: Input[Dataset],
    selection: Input[Dataset],
    seed: int,
    checkpoints: str,
    champions: str,
    warm_start: float,
    model: Output[Model],
) -> None:
    """Train one member with one fold held out.

    Args:
        row: A row of `audiotagging.members.rows`: the fields of a Member and `fold`.
        spectrograms: What `preprocess` made.
        selection: What `select` made.
        seed: Seed of the run; every member and fold derives its own from it.
        checkpoints: Folder or URI under which an interrupted training is found again; empty for none.
        champions: Folder of the champion, whose weights a warm start begins with.
        warm_start: Share of the epochs to train then; 0 for new weights and all epochs.
        model: A folder with weights.safetensors, member.json and history.parquet.
    """
    from pathlib import Path

    from audiotagging.artifacts.noisy_clips import read_noisy_clips
    from audiotagging.artifacts.spectrogram_shards import read_fingerprint
    from audiotagging.members import Member
    from audiotagging.training.checkpoints import run_folder
    from audiotagging.training.loop import run_identity, train
    from audiotagging.training.warm_start import starting_point

    shards = Path(spectrograms.path)
    fingerprint = read_fingerprint(shards)
    member, fold, start = Member.from_row(row), int(row["fold"]), None
    if champions and warm_start:
        location = Path(champions)
        member, start = starting_point(member, fold=fold, location=location, spectrograms=shards, share=warm_start)
    noisy_clips = list(read_noisy_clips(Path(selection.path))["fname"])
    identity = run_identity(member, fold=fold, seed=seed, fingerprint=fingerprint, precision="auto")
    identity |= {"warm start": str(start), "noisy clips": noisy_clips}
    with run_folder(checkpoints, identity=identity) as folder:
        train(
            member,
            fold=fold,
            spectrograms=shards,
            out=Path(model.path),
            seed=seed,
            fingerprint=fingerprint,
            checkpoints=folder,
            warm_start=start,
            noisy_clips=noisy_clips,
        )
    model.metadata.update(member=member.id, fold=fold)
