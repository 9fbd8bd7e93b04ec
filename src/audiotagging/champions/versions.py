"""The versions in the champions folder: how they are stored, compared, put into use and forgotten."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from audiotagging.artifacts.acoustics_table import ACOUSTICS
from audiotagging.artifacts.averaging import read_averaging
from audiotagging.artifacts.champions_folder import (
    HISTORY,
    POINTER,
    VERSION,
    VERSIONS,
    Champion,
    Comparison,
    Event,
    History,
    Measured,
    read_events,
    version_folder,
)
from audiotagging.artifacts.ensemble_folder import ENSEMBLE
from audiotagging.artifacts.model_folder import read_metadata
from audiotagging.artifacts.predictions import Predictions, read_predictions, write_predictions
from audiotagging.artifacts.selection import read_noisy_clips
from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.artifacts.stored_version import (
    RESCORED,
    join,
    read_version_clips,
    read_version_predictions,
    write_version_clips,
)
from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_file, atomic_folder, check_target, remove_partial
from audiotagging.base.removal import remove_leftovers
from audiotagging.base.typed_json import write_json
from audiotagging.base.working_folder import working_folder
from audiotagging.ensemble.ensembling import average_members
from audiotagging.ensemble.labelled_clips import labelled_sets
from audiotagging.evaluation.comparison import compare_first_set
from audiotagging.statistics.intervals import estimate_systems

KEPT = 5  # number of newest former champions, and of newest other versions, that are never removed


def store(folder: Path, ensemble: Path, *, models: Sequence[Path], spectrograms: Path, selection: Path) -> None:
    """Copy a version to its folder, unless it is there already.

    Args:
        folder: The folder of the version.
        ensemble: The folder of the ensemble.
        models: Folders of the trained models.
        spectrograms: The folder of shards that they were predicted from.
        selection: The folder of the selection that they were trained on.
    """
    if folder.exists():
        remove_partial(folder)
        return
    with atomic_folder(folder) as partial:
        shutil.copytree(ensemble, partial, dirs_exist_ok=True)
        for model in models:
            shutil.copytree(model, partial / "models" / read_metadata(model).name)
        if (spectrograms / ACOUSTICS).exists():
            shutil.copy(spectrograms / ACOUSTICS, partial)
        noisy_clips = set(read_noisy_clips(selection)["fname"])
        write_version_clips(partial, read_clips(spectrograms), noisy_clips=noisy_clips)
        for path in (partial, *partial.rglob("*")):  # the modes are those of the originals, which all may write to
            path.chmod(path.stat().st_mode & ~(0o022 if path.is_dir() else 0o222))


def add_rescored(folder: Path, rescored: Path) -> None:
    """Add what a version's members predicted later to its predictions, with the average of its ensemble.

    Args:
        folder: The folder of the version.
        rescored: The prediction table that `audiotagging.champions.rescoring.rescore` wrote.

    Raises:
        UserError: If a table is corrupt.
    """
    members = read_predictions(rescored)
    if not len(members.rows):
        return
    averaging = read_averaging(folder, classes=members.classes)
    later = average_members(members, mean=averaging.mean, weights=averaging.weights)
    if (folder / RESCORED).exists():
        later = join(read_predictions(folder / RESCORED), later)
    with atomic_file(folder / RESCORED) as partial:
        write_predictions(partial, later)


def measure(predictions: Predictions, clips: pd.DataFrame) -> Measured | None:
    """Return the lwlrap of an ensemble on its labelled test clips or, without any, on its out-of-fold clips."""
    sets = labelled_sets(predictions, clips)
    for name in ("all", "out_of_fold"):
        if name in sets:
            estimate, _ = estimate_systems(sets[name].truth, sets[name].systems[ENSEMBLE], {})
            return Measured(
                set=name,
                clips=len(sets[name].clips),
                score=estimate["score"],
                low=estimate["low"],
                high=estimate["high"],
            )
    return None


def compare_predictions(new: Predictions, old: Predictions, clips: pd.DataFrame) -> Comparison | None:
    """Compare two ensembles on test clips or, if they have no labelled ones in common, on out-of-fold clips.

    The clips are those that both have predicted, and their labels are those of now.

    Args:
        new: The predictions of one ensemble and its members.
        old: The predictions of the other, which the comparison calls the champion.
        clips: The table of clips that belongs to the spectrograms of the new one.

    Returns:
        The comparison, or None if they have other classes, or no labelled clips in common.
    """
    if new.classes != old.classes:
        return None
    compared = compare_first_set(labelled_sets(old, clips), labelled_sets(new, clips))
    if compared is None:
        return None
    name, found = compared
    return Comparison(
        set=name,
        clips=found["clips"],
        score=found["new"]["score"],
        champion=found["old"]["score"],
        difference=found["difference"],
        low=found["difference_low"],
        high=found["difference_high"],
    )


def compare_versions(champions: Path, new: str, old: str) -> Comparison | None:
    """Compare two versions, with the labels that the new one was stored with, or else the old one.

    Returns:
        The comparison, or None if they have other classes, or no labelled clips in common.

    Raises:
        UserError: If a version does not exist or is corrupt, or if none of the two was stored with labels.
    """
    folders = [version_folder(champions, version) for version in (new, old)]
    clips = next((table for folder in folders if (table := read_version_clips(folder)) is not None), None)
    if clips is None:
        raise UserError(
            f"{champions}: expected the labels of version {new} or {old}, found none: an earlier version of the "
            "program stored both; compare the output folders of their runs with `audiotagging compare`"
        )
    newer, older = map(read_version_predictions, folders)
    return compare_predictions(newer, older, clips)


def record(champions: Path, event: Event, champion: Champion | None) -> None:
    """Add an event to the history, and then switch to another champion, or to other facts about it.

    Args:
        champions: The champions folder, locked.
        event: What happened. It replaces the last event if both are the same candidate, which is that of a retry.
        champion: The new content of `champion.json`, or None to leave it as it is.
    """
    for name in (HISTORY, POINTER):  # before anything is written
        check_target(champions / name)
    remove_leftovers(champions)
    history = read_events(champions)
    if history and (history[-1]["version"], history[-1]["action"], event["action"]) == (
        event["version"],
        "candidate",
        "candidate",
    ):
        history.pop()
    with atomic_file(champions / HISTORY) as partial:
        write_json(partial, History(events=[*history, event]))
    if champion is not None:
        with atomic_file(champions / POINTER) as partial:
            write_json(partial, champion)


def forget(champions: Path, *, keep: set[str]) -> None:
    """Remove old versions: all but the `KEPT` newest former champions, the `KEPT` newest others and those to keep."""
    versions = champions / VERSIONS
    events = read_events(champions)
    used = {event["after"] for event in events}
    age = {event["version"]: place for place, event in enumerate(events)}  # clocks go backwards, copies have new times
    found = [path.parent for path in versions.glob("*/ensemble.json") if VERSION.fullmatch(path.parent.name)]
    ours = [path for path in found if path.resolve() == champions.resolve() / VERSIONS / path.name]  # no links
    newest_first = sorted(ours, key=lambda folder: age.get(folder.name, -1), reverse=True)
    former = [folder for folder in newest_first if folder.name in used]
    others = [folder for folder in newest_first if folder.name not in used]
    with working_folder(versions / "removed") as removed:  # what is only half removed is no version any more
        for folder in (*former[KEPT:], *others[KEPT:]):
            if folder.name not in keep:
                folder.rename(removed / folder.name)
