"""Compares a run with the one before it, and says what changed in between."""

from collections.abc import Mapping
from pathlib import Path

from audiotagging.ensemble.labelled_clips import LabelledSet
from audiotagging.evaluation.comparison import SPECTROGRAMS, compare_first_set, read_run
from audiotagging.evaluation.differences import Settings, data_differences, settings_differences
from audiotagging.evaluation.scores import Before


def compare_with_before(
    before: Path, *, sets: Mapping[str, LabelledSet], spectrograms: Path, settings: Settings
) -> Before | None:
    """Compare a run with the one before it.

    Args:
        before: The output folder of the run before.
        sets: The labelled clips of this run.
        spectrograms: The folder of its spectrograms.
        settings: Its settings.

    Returns:
        The comparison, or None if the two have no labelled clips in common, or other classes.

    Raises:
        UserError: If the folder is not the output of a run, or is corrupt.
    """
    old = read_run(before)
    found = None
    if all(facts.classes == old.classes for facts in settings.models):
        found = compare_first_set(old.sets, sets)
    if found is None:
        return None
    name, compared = found
    data = data_differences(before / SPECTROGRAMS, spectrograms)
    return Before(
        set=name,
        clips=compared["clips"],
        score=compared["new"]["score"],
        before=compared["old"]["score"],
        difference=compared["difference"],
        difference_low=compared["difference_low"],
        difference_high=compared["difference_high"],
        changes=[*data.changes, *filter(None, [data.rounding]), *settings_differences(old.settings, settings)],
    )


def with_changes(before: Before) -> Before:
    """Return a comparison with the run before as this version writes it. Earlier ones counted corrections alone."""
    if "changes" in before:
        return before
    corrected, left_out = before.get("corrected", 0), before.get("left_out", 0)
    found = [f"curated clips with other labels: {corrected}", f"curated clips left out: {left_out}"]
    return before | {"changes": [what for what, count in zip(found, (corrected, left_out), strict=True) if count]}
