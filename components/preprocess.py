"""The stage `preprocess`."""

from kfp.dsl import Dataset, Output

from components.stage import stage


@stage(image="data")
def preprocess(
    folder: str,
    fingerprint: str,
    downloads: str,
    noisy_part: bool,
    corrections: list,
    reading: dict,
    max_rejected: float,
    test_share: float,
    split_seed: int,
    keep_audio: bool,
    verify: int,
    spectrograms: Output[Dataset],
) -> None:
    """Compute the log-mel spectrogram of every sound file, and write them to Parquet shards.

    Args:
        folder: The data folder.
        fingerprint: The fingerprint from `ingest`. If it changes, this stage runs again.
        downloads: The same folder as for `ingest`, which kept the digests of the sounds there.
        noisy_part: Whether noisy clips are needed.
        corrections: The same paths as for `ingest`.
        reading: The same wishes as for `ingest`.
        max_rejected: Share of a part's clips that may be unreadable.
        test_share: The same share as for `ingest`.
        split_seed: The seed from `ingest`.
        keep_audio: Whether to keep excerpts of the clips that can be scored, for the players of the report.
        verify: Number of clips whose spectrograms are computed by librosa too, to compare them.
        spectrograms: A folder of shards.
    """
    from pathlib import Path

    from audiotagging.base.machine import Meter
    from audiotagging.data.layouts.reading import Reading
    from audiotagging.data.preprocessing import preprocess_folder

    meter = Meter()
    preprocess_folder(
        Path(folder),
        fingerprint=fingerprint,
        downloads=Path(downloads),
        noisy_part=noisy_part,
        corrections=corrections,
        reading=Reading.from_dict(reading),
        max_rejected=max_rejected,
        test_share=test_share,
        seed=split_seed,
        keep_audio=keep_audio,
        verify=verify,
        out=Path(spectrograms.path),
    )
    spectrograms.metadata.update(meter.cost())
