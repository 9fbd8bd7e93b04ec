"""The stage that selects: assigns the curated clips to folds, and chooses the noisy clips to train on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from audiotagging.artifacts.initial_weights import write_init
from audiotagging.artifacts.noisy_choice import read_chosen_list
from audiotagging.artifacts.selection import DEALT_FOLDS, JUDGE, write_selection
from audiotagging.artifacts.spectrogram_shards import read_clips, read_listing
from audiotagging.files import atomic_folder
from audiotagging.members import Member
from audiotagging.stratification import stratify
from audiotagging.training.judge import judge_noisy_clips


def select(
    spectrograms: Path, *, noisy_choice: Mapping[str, Any], init: Mapping[str, Any], seed: int, out: Path
) -> None:
    """Write the folder of a selection (`audiotagging.artifacts.selection`).

    Args:
        spectrograms: The folder of shards.
        noisy_choice: The choice of noisy clips to train on (`audiotagging.artifacts.noisy_choice`).
        init: The weights to start with (`audiotagging.artifacts.initial_weights`).
        seed: Seed of the folds and of the judge's training.
        out: The folder to create.

    Raises:
        UserError: If the shards or the list cannot be used, or if the judge agrees with no label.
    """
    clips = read_clips(spectrograms)
    folds = deal_folds(clips[clips["part"] == "curated"], seed=seed)
    noisy = clips["clip"][clips["part"] == "noisy"]
    with atomic_folder(out) as part:
        if noisy_choice["noisy"] == "agreement":
            judge = Member.from_row(noisy_choice["judge"])
            chosen = judge_noisy_clips(spectrograms, member=judge, folds=folds, seed=seed, model=part / JUDGE)
        elif noisy_choice["noisy"] == "list":
            listed = read_chosen_list(noisy_choice, read_listing(spectrograms, part="noisy"))
            chosen = pd.DataFrame({"fname": noisy[noisy.isin(listed)]})
        else:
            chosen = pd.DataFrame({"fname": noisy[: None if noisy_choice["noisy"] == "all" else 0]})
        write_selection(part, folds=folds, noisy_clips=chosen)
        write_init(part, init)


def deal_folds(curated: pd.DataFrame, *, seed: int) -> dict[str, int]:
    """Return the fold of every curated clip: the one in the data's own table or, if there is none, a stratified one.

    Args:
        curated: The curated clips of the shards: `clip`, `labels` and `fold`.
        seed: Seed of the stratification.
    """
    names, folds = list(curated["clip"]), curated["fold"]
    if (folds < 0).any():
        folds = stratify(names, list(curated["labels"]), shares=[1] * DEALT_FOLDS, seed=seed)
    return dict(zip(names, map(int, folds), strict=True))
