"""The stage `preprocess`."""

from kfp.dsl import Dataset, Output

from components.stage import stage


@stage(image="data")
def preprocess(
    folder: str, fingerprint: str, seed: int, noisy: str, max_rejected: float, spectrograms: Output[Dataset]
) -> None:
    """Turn every WAV file into a log-mel spectrogram, stored in Parquet shards.

    Args:
        folder: The data folder.
        fingerprint: What `ingest` found in it; another one makes this stage run again.
        seed: Seed of the folds.
        noisy: Which noisy clips to use.
        max_rejected: Share of a part's clips that may be unreadable.
        spectrograms: A folder of shards.
    """
    from pathlib import Path

    from audiotagging.data.dataset import fingerprint as take_fingerprint
    from audiotagging.data.dataset import read_dataset
    from audiotagging.data.preprocessing import preprocess
    from audiotagging.errors import UserError

    dataset = read_dataset(Path(folder), seed=seed, noisy=noisy)
    if take_fingerprint(dataset) != fingerprint:  # else what is cached under it would be of other data
        raise UserError(f"{folder} has changed since ingest looked at it; run again")
    preprocess(dataset, Path(spectrograms.path), max_rejected=max_rejected, fingerprint=fingerprint)
