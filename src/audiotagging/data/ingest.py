"""The first stage: brings the data where the next stage can read it, and checks it before anything long starts."""

import logging
from collections.abc import Collection
from pathlib import Path

from audiotagging.data.dataset import DataError, Dataset, fingerprint, read_dataset
from audiotagging.data.overview import describe, durations
from audiotagging.data.sources import resolve

logger = logging.getLogger(__name__)


def ingest(
    data: str,
    *,
    downloads: Path,
    seed: int = 534,
    noisy: str = "all",
    max_rejected: float = 0.01,
    held_out: Collection[int] = (),
) -> tuple[Path, str]:
    """Bring and check the data.

    Args:
        data: Where it comes from, as `audiotagging.data.sources.resolve` takes it.
        downloads: Where downloads and unpacked archives are kept, on a volume that the next stage can read too.
        seed: Seed of the folds.
        noisy: Which noisy clips to take: "none", "all", "agreement" or the path of a list.
        max_rejected: Share of a part's clips that may be unreadable.
        held_out: The folds that training will hold out; negative ones are none.

    Returns:
        The folder of the data, for `read_dataset`, and its fingerprint.

    Raises:
        UserError: If the data cannot be had or cannot be used.
    """
    folder = resolve(data, downloads=downloads)
    dataset = read_dataset(folder, seed=seed, noisy=noisy)
    check_folds(dataset, held_out)
    for line in [*describe(dataset, durations(dataset, max_rejected=max_rejected)), *dataset.notes]:
        logger.info(line)
    return folder, fingerprint(dataset)


def check_folds(dataset: Dataset, held_out: Collection[int]) -> None:
    """Make sure that there is something to predict.

    Args:
        dataset: The data.
        held_out: The folds that training will hold out; negative ones are none.

    Raises:
        DataError: If a fold has no clips, or there are neither test clips nor a fold.
    """
    for fold in sorted(set(held_out)):
        if fold >= 0 and fold not in set(dataset.clips["fold"]):
            raise DataError(dataset.folder, [f"no curated clip is in fold {fold}, which is to be held out"])
    if not (dataset.clips["part"] == "test").any() and not any(fold >= 0 for fold in held_out):
        problem = "there are no test clips and no fold is held out: nothing to predict; use --folds 0,1,2,3,4"
        raise DataError(dataset.folder, [problem])
