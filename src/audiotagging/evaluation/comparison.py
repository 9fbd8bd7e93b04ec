"""Compares two runs on the labelled clips that both of them predicted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiotagging.artifacts.averaging import AVERAGING
from audiotagging.artifacts.ensemble_folder import ENSEMBLE, PREDICTIONS, read_ensemble
from audiotagging.artifacts.model_folder import model_folders, read_metadata
from audiotagging.base.errors import UserError
from audiotagging.base.files import require
from audiotagging.base.typed_json import read_json
from audiotagging.ensemble.labelled_clips import SETS, LabelledSet, check_predictions, labelled_sets
from audiotagging.evaluation.differences import Settings, data_differences, settings_differences
from audiotagging.evaluation.scores import SCORES_FILE, StoredScores
from audiotagging.statistics.intervals import compare_classes, estimate_systems
from audiotagging.statistics.metrics import mean_average_precision

SPECTROGRAMS = "spectrograms"


@dataclass(frozen=True)
class ComparedRun:
    """What is compared of a run."""

    folder: Path
    classes: list[str]
    sets: dict[str, LabelledSet]
    settings: Settings


def compare(old: Path, new: Path) -> dict[str, Any]:
    """Compare the ensembles of two runs.

    Args:
        old: The output folder of one run.
        new: The output folder of the other run.

    Returns:
        A dictionary with three entries. `notes` says how the data and the settings of the runs differ, old being A and
        new B; then how the clips differ that are scored.
        `sets` has one entry per set of clips that both runs scored: the number of `clips`, the estimates `old` and
        `new` (`score`, `low`, `high`), `difference`, `difference_low` and `difference_high` (new minus old), and
        `mean_average_precision` (`old` and `new`). `classes` lists the gain of every class on the first of these sets,
        largest gain first.

    Raises:
        UserError: If a folder is not the output of a run or is corrupt, if the classes differ, or if the runs have no
            labelled clip in common.
    """
    runs = read_run(old), read_run(new)
    if runs[0].classes != runs[1].classes:
        raise UserError(
            f"expected runs with the same classes, found {len(runs[0].classes)} in {old} and "
            f"{len(runs[1].classes)} in {new}, {len(set(runs[0].classes) ^ set(runs[1].classes))} of which are only "
            "in one of them; compare runs on the same classes"
        )
    notes = [describe_data(*data_differences(old / SPECTROGRAMS, new / SPECTROGRAMS))]
    settings = settings_differences(runs[0].settings, runs[1].settings)
    notes.append(f"In B, the settings differ: {'; '.join(settings)}." if settings else "The settings are the same.")
    sets: dict[str, dict[str, Any]] = {}
    classes: list[dict[str, Any]] = []
    for name in SETS:
        pair = [run.sets.get(name) for run in runs]
        if pair[0] is None or pair[1] is None:
            notes += [f"{name}: only {run.folder} has these clips." for run in runs if name in run.sets]
            continue
        first, second, differences = align(pair[0], pair[1])
        notes += [f"{name}: {difference}" for difference in differences]
        if first.clips:
            scores = first.systems[ENSEMBLE], second.systems[ENSEMBLE]
            old_map, new_map = (mean_average_precision(second.truth, each) for each in scores)
            sets[name] = compare_ensembles(first, second) | {"mean_average_precision": {"old": old_map, "new": new_map}}
            classes = classes or compare_classes(second.truth, *scores, runs[1].classes)
    if not sets:
        raise UserError(
            f"expected labelled clips that both runs predicted, found none in {old} and {new}; "
            "compare runs on the same data"
        )
    return {"notes": notes, "sets": sets, "classes": classes}


def describe_data(changes: Sequence[str], rounding: str) -> str:
    """Return a sentence about the differences that `data_differences` found."""
    found = [*changes, *filter(None, [rounding])]
    if changes:
        return f"In B, the data differ: {'; '.join(found)}."
    return f"The data are the same{f'; {rounding}' if rounding else ''}."


def compare_ensembles(old: LabelledSet, new: LabelledSet) -> dict[str, Any]:
    """Score two ensembles on the same clips, against the labels of the new set.

    Returns:
        The number of `clips`, the estimates `old` and `new` (`score`, `low`, `high`), and `difference`,
        `difference_low` and `difference_high` (new minus old).
    """
    newer, others = estimate_systems(new.truth, new.systems[ENSEMBLE], {"": {"old": old.systems[ENSEMBLE]}})
    older = others[""]["old"]
    differences = {key: older[key] for key in ("difference", "difference_low", "difference_high")}
    return {"clips": len(new.clips), "old": older, "new": newer} | differences


def compare_first_set(
    old: Mapping[str, LabelledSet], new: Mapping[str, LabelledSet]
) -> tuple[str, dict[str, Any]] | None:
    """Compare two ensembles on test clips or, if they have no labelled ones in common, on curated clips.

    Returns:
        The name of the set and the comparison, as `compare_ensembles` returns it, or None without common clips.
    """
    for name in ("all", "out_of_fold"):
        if name in old and name in new:
            older, newer, _ = align(old[name], new[name])
            if newer.clips:
                return name, compare_ensembles(older, newer)
    return None


def align(old: LabelledSet, new: LabelledSet) -> tuple[LabelledSet, LabelledSet, list[str]]:
    """Reduce two sets to the clips that they share, in the same order.

    Returns:
        The old set, the new set, and one sentence for each way in which the sets differed.
    """
    shared = [clip for clip in new.clips if clip in set(old.clips)]
    notes = []
    if len(shared) < max(len(old.clips), len(new.clips)):
        notes.append(
            f"The comparison uses the {len(shared)} clips that are in both runs; {len(old.clips) - len(shared)} clips "
            f"are only in the first run and {len(new.clips) - len(shared)} only in the second."
        )
    old, new = old.select(shared), new.select(shared)
    relabelled = int((old.truth != new.truth).any(axis=1).sum())
    if relabelled:
        notes.append(f"{relabelled} clips have different labels in the second run; its labels are used.")
    return old, new, notes


def read_run(folder: Path) -> ComparedRun:
    """Read a run.

    Raises:
        UserError: If the folder is not the output of a run, or is corrupt.
    """
    require(folder, PREDICTIONS, AVERAGING, SCORES_FILE, SPECTROGRAMS, what="the output of a run")
    predictions, averaging = read_ensemble(folder)
    sets = labelled_sets(predictions, check_predictions(folder, predictions, folder / SPECTROGRAMS))
    models = [read_metadata(model) for model in model_folders(folder / "models")]
    noisy_clips = read_json(folder / SCORES_FILE, StoredScores)["selection"]["clips"]
    return ComparedRun(folder, predictions.classes, sets, Settings(models, averaging, noisy_clips))
