"""Compares a run with the one before it, and counts the labels that were corrected in between."""

from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from audiotagging.artifacts.model_folder import ModelMetadata, model_folders, read_metadata
from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.ensemble.labelled_clips import LabelledSet
from audiotagging.evaluation.comparison import compare_first_set, read_run
from audiotagging.evaluation.scores import Before


def compare_with_before(
    before: Path,
    *,
    sets: Mapping[str, LabelledSet],
    clips: pd.DataFrame,
    noisy_clips: Collection[str],
    models: Collection[ModelMetadata],
) -> Before | None:
    """Compare a run with the one before it.

    Args:
        before: The output folder of the run before.
        sets: The labelled clips of this run.
        clips: The table of clips that belongs to its spectrograms.
        noisy_clips: The noisy clips that it was trained on.
        models: The facts of its models.

    Returns:
        The comparison, or None if the two have no labelled clips in common, or other classes.

    Raises:
        UserError: If the folder is not the output of a run, or is corrupt.
    """
    old, old_models = read_run(before), [read_metadata(folder) for folder in model_folders(before / "models")]
    found = None
    if all(facts.classes == old.classes for facts in models):
        found = compare_first_set(old.sets, sets)
    if found is None:
        return None
    name, compared = found
    noisy = set(noisy_clips)
    labels, old_labels = _curated(clips), _curated(read_clips(before / "spectrograms"))
    trained, old_trained = ({(facts.member, facts.fold, facts.seed) for facts in each} for each in (models, old_models))
    return Before(
        set=name,
        clips=compared["clips"],
        score=compared["new"]["score"],
        before=compared["old"]["score"],
        difference=compared["difference"],
        difference_low=compared["difference_low"],
        difference_high=compared["difference_high"],
        corrected=sum(labels[clip] != old_labels[clip] for clip in labels.keys() & old_labels.keys()),
        left_out=len(old_labels.keys() - labels.keys()),
        rest_is_same=trained == old_trained and labels.keys() <= old_labels.keys() and noisy == old.noisy_clips,
    )


def _curated(clips: pd.DataFrame) -> dict[str, set[str]]:
    """Return the labels of the curated clips by clip."""
    curated = clips[clips["part"] == "curated"]
    return dict(zip(curated["clip"], map(set, curated["labels"]), strict=True))
