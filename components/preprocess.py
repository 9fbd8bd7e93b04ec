"""The stage `preprocess`."""

from kfp.dsl import Dataset, Output

from components.stage import stage


@stage(image="data")
def preprocess(
    folder: str, fingerprint: str, noisy_part: bool, max_rejected: float, spectrograms: Output[Dataset]
) -> None:
    """Turn every sound file into a log-mel spectrogram, stored in Parquet shards.

    Args:
        folder: The data folder.
        fingerprint: What `ingest` found in it; another one makes this stage run again.
        noisy_part: Whether noisy clips are needed.
        max_rejected: Share of a part's clips that may be unreadable.
        spectrograms: A folder of shards.
    """
    from pathlib import Path

    from audiotagging.data.preprocessing import preprocess_folder

    preprocess_folder(
        Path(folder),
        fingerprint=fingerprint,
        noisy_part=noisy_part,
        max_rejected=max_rejected,
        out=Path(spectrograms.path),
    )
