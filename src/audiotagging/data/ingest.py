"""The first stage: gets the data, and checks them before any long computation starts."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from audiotagging.artifacts.selection import DEALT_FOLDS, describe_choice
from audiotagging.base.errors import UserError
from audiotagging.base.wording import listed, pluralize
from audiotagging.data.dataset import DataError, Dataset, fingerprint, read_dataset, take_digests
from audiotagging.data.layouts.contents import shorten
from audiotagging.data.layouts.reading import AS_FOUND, Reading
from audiotagging.data.sources import resolve
from audiotagging.data.summary import describe, durations
from audiotagging.members import Member

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ingested:
    """Data that are present and checked.

    Attributes:
        folder: The data folder.
        fingerprint: Fingerprint of what the spectrograms depend on (`audiotagging.data.dataset.fingerprint`).
        noisy_choice: The choice of noisy clips to train on (`audiotagging.artifacts.selection`).
        split_seed: The seed, or 0 if the clips do not depend on it.
    """

    folder: Path
    fingerprint: str
    noisy_choice: dict[str, Any]
    split_seed: int


def ingest(
    data: str,
    *,
    rows: Sequence[Mapping[str, Any]],
    downloads: Path,
    noisy: str,
    max_rejected: float,
    corrections: Sequence[str] = (),
    reading: Reading = AS_FOUND,
    test_share: float = 0.0,
    seed: int = 0,
) -> Ingested:
    """Get and check the data.

    Args:
        data: Source of the data, as `audiotagging.data.sources.resolve` takes it.
        rows: Members and folds to train, as `audiotagging.members.rows` returns them. A fold to hold out must contain
            clips.
        downloads: The folder for downloads, unpacked archives and the digests of sounds. The next stage must be able to
            read it too.
        noisy: The noisy clips to train on: "none", "all", "agreement" or the path of a list.
        max_rejected: Share of a part's clips that may be unreadable.
        corrections: Paths of tables of corrected labels, relative to the data folder.
        reading: How the user wants the data folder to be read.
        test_share: Share of the clips of every class to make test clips, as in `read_dataset`.
        seed: Seed of the draw of test clips, and of the folds of groups.

    Raises:
        UserError: If the data are not available or cannot be used, or if there are no rows or invalid ones.
    """
    members = [Member.from_row(row) for row in rows]
    if not members:
        raise UserError("expected at least one row with a member and a fold to train, found none")
    folder = resolve(data, downloads=downloads)
    dataset = read_dataset(
        folder, noisy=noisy, corrections=corrections, reading=reading, test_share=test_share, seed=seed
    )
    check_folds(dataset, [int(row["fold"]) for row in rows])
    for line in [*describe(dataset, durations(dataset, max_rejected=max_rejected)), *dataset.notes]:
        logger.info(line)
    return Ingested(
        folder,
        fingerprint(dataset, take_digests(dataset, downloads=downloads)),
        noisy_choice=describe_choice(noisy, folder=folder),
        split_seed=seed if dataset.is_drawn else 0,
    )


def check_folds(dataset: Dataset, held_out: Collection[int]) -> None:
    """Check that there are clips in every fold that is to be held out, and note if there is nothing to predict.

    Args:
        dataset: The data set, whose notes are added to.
        held_out: The folds that training will hold out. Negative numbers hold out nothing.

    Raises:
        DataError: If a fold has no clips, all of them, or only clips of classes that are in no other fold.
    """
    wanted = sorted({fold for fold in held_out if fold >= 0})
    if problem := _find_problem(dataset.clips, wanted):
        raise DataError(dataset.folder, [problem])
    if not wanted and not (dataset.clips["part"] == "test").any():
        dataset.notes.append(
            "there are no test clips and no fold is held out: nothing will be predicted or scored; the ensemble can tag"
        )


def _find_problem(clips: pd.DataFrame, wanted: list[int]) -> str:
    """Return why some folds cannot be held out, or an empty string."""
    curated, noisy = clips[clips["part"] == "curated"], clips[clips["part"] == "noisy"]
    is_known = curated["fold"].min() >= 0  # otherwise the stage `select` deals the folds
    folds = sorted(set(curated["fold"])) if is_known else list(range(DEALT_FOLDS))
    if wanted and len(folds) < 2:
        return f"all curated clips are of one group and in fold {folds[0]}: none is left to train on if it is held out"
    if missing := [str(fold) for fold in wanted if fold not in folds]:
        which = f"fold {missing[0]}, which is" if len(missing) == 1 else f"folds {listed(missing)}, which are"
        groups = f" (their {pluralize(curated['group'].nunique(), 'group')} stay together)" * curated["group"].any()
        return (
            f"no curated clip is in {which} to be held out: the clips are in {pluralize(len(folds), 'fold')}{groups}; "
            f"hold out some or all of --folds {','.join(map(str, folds))}"
        )
    for fold in wanted if is_known else ():
        here = curated["fold"] == fold
        labels = set(curated["labels"][here].explode())
        if labels.isdisjoint(pd.concat([curated[~here], noisy])["labels"].explode()):
            return (
                f"no class of the clips in fold {fold} ({shorten(sorted(labels))}) is in another fold, so that nothing "
                "can be scored if it is held out; leave it out of --folds, or give its classes clips in other folds"
            )
    return ""
