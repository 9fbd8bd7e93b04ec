"""What differs between two runs, in words: their clips, labels and sounds, and the settings of training.

Two runs have the same data if nothing of this differs. Their fingerprints need not be equal: those of earlier versions
depended on modification times. Spectrograms of the same sounds can differ by rounding, because processors and versions
of libraries round differently.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from audiotagging.artifacts.averaging import Averaging
from audiotagging.artifacts.model_folder import ModelMetadata
from audiotagging.artifacts.sounds_table import read_sounds
from audiotagging.artifacts.spectrogram_shards import read_clips, read_spectrograms, spectrogram_digests
from audiotagging.base.wording import listed, number, pluralize

NAMED = 3  # clips that are named of each kind
CLIPS_AT_ONCE = 1_000  # whose spectrograms are in memory
ROUNDING = 1  # level of 255, by which spectrograms of the same sound may differ
CHANGES = {
    "labels": ("has other labels", "have other labels"),
    "part": ("is in another part", "are in another part"),
    "fold": ("is in another fold", "are in another fold"),
    "usage": ("is used otherwise", "are used otherwise"),
}


class DataDifferences(NamedTuple):
    """How the data of two runs differ.

    Attributes:
        changes: One phrase for each kind of difference, such as "1 clip is new (a.wav)". Empty for the same data.
        rounding: How many spectrograms of the same sounds differ by rounding. "" for none.
    """

    changes: list[str]
    rounding: str


def data_differences(old: Path, new: Path) -> DataDifferences:
    """Return how the data of two runs differ.

    Args:
        old: The folder of the spectrograms of one run.
        new: That of the other run.

    Raises:
        UserError: If one of them is not a complete folder of shards, or if a table is corrupt.
    """
    before, after = _read_clips(old), _read_clips(new)
    found = [
        _phrase(sorted(clips), *verbs)
        for clips, verbs in (
            (set(after.index) - set(before.index), ("is new", "are new")),
            (set(before.index) - set(after.index), ("is gone", "are gone")),
        )
        if clips
    ]
    shared = [clip for clip in after.index if clip in before.index]
    one, two = before.loc[shared], after.loc[shared]
    for column, verbs in CHANGES.items():
        if clips := _differing(one[column], two[column]):
            found.append(_phrase(clips, *verbs))
    sounds_are_known = not (one["sound"].isna() | two["sound"].isna()).any()
    changed = _differing(one["sound"], two["sound"]) if sounds_are_known else []
    if changed:
        found.append(_phrase(changed, "has another sound", "have other sounds"))
    same = [clip for clip in _differing(one["spectrogram"], two["spectrogram"]) if clip not in set(changed)]
    rounded = _rounded(old, new, one.loc[same], two.loc[same])
    if others := [clip for clip in same if clip not in rounded]:
        of_sounds = (" of the same sound", " of the same sounds") if sounds_are_known else ("", "")
        verbs = f"has another spectrogram{of_sounds[0]}", f"have other spectrograms{of_sounds[1]}"
        found.append(_phrase(others, *verbs))
    if not found and list(before.index) != list(after.index):
        found.append("the clips are in another order")
    verb = "differs" if len(rounded) == 1 else "differ"
    of = f"{len(rounded)} of {pluralize(len(shared), 'spectrogram')}"
    unknown = "" if sounds_are_known else " (an earlier version did not record the sounds)"
    rounding = f"{of} {verb} by {ROUNDING} level of 255, as by rounding{unknown}"
    return DataDifferences(found, rounding if rounded else "")


def _read_clips(folder: Path) -> pd.DataFrame:
    """Return the clips that come from the data.

    Returns:
        One row per clip with the columns of `read_clips`, `sound` and `spectrogram`, which are digests; `sound` is NaN
        if an earlier version has not recorded it. The index is the name, with the part if clips of two have that name.
    """
    clips = read_clips(folder).assign(spectrogram=spectrogram_digests(folder))
    clips = clips[clips["part"] != "disturbance"]
    sounds = read_sounds(folder)
    if sounds is None:
        sounds = pd.DataFrame(columns=["clip", "part", "digest"])
    clips = clips.merge(sounds.rename(columns={"digest": "sound"}), how="left", on=["clip", "part"])
    names = clips["clip"].where(~clips["clip"].duplicated(keep=False), clips["part"] + "/" + clips["clip"])
    return clips.assign(labels=clips["labels"].map(sorted)).set_index(names.rename(None))


def _differing(one: pd.Series, two: pd.Series) -> list[str]:
    """Return the names of the rows in which two columns differ."""
    return [clip for clip, left, right in zip(one.index, one, two, strict=True) if left != right]


def _rounded(old: Path, new: Path, before: pd.DataFrame, after: pd.DataFrame) -> set[str]:
    """Return the names of the clips whose spectrograms differ by no more than rounding.

    Args:
        old: The folder of the spectrograms of one run.
        new: That of the other run.
        before: Clips of the one run.
        after: The same clips of the other run.
    """
    found = set()
    for start in range(0, len(before), CLIPS_AT_ONCE):
        rows = slice(start, start + CLIPS_AT_ONCE)
        one, two = _spectrograms(old, before.iloc[rows]), _spectrograms(new, after.iloc[rows])
        for clip in one:
            if one[clip].shape == two[clip].shape and np.abs(one[clip].astype(np.int16) - two[clip]).max() <= ROUNDING:
                found.add(clip)
    return found


def _spectrograms(folder: Path, clips: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the spectrograms of clips by name, uint8, shape (frames, 128) each."""
    read = read_spectrograms(folder, clips=clips["clip"].tolist())
    keys = zip(read.clips["clip"], read.clips["part"], strict=True)
    found = dict(zip(keys, np.split(read.frames, read.offsets[1:-1]), strict=True))
    return {name: found[clip, part] for name, clip, part in zip(clips.index, clips["clip"], clips["part"], strict=True)}


def _phrase(clips: Sequence[str], singular: str, plural: str) -> str:
    """Return how many clips something is true of, with the names of the first of them."""
    more = [f"{len(clips) - NAMED} more"] if len(clips) > NAMED else []
    names = listed([*clips[:NAMED], *more])
    return f"{pluralize(len(clips), 'clip')} {singular if len(clips) == 1 else plural} ({names})"


class Settings(NamedTuple):
    """The settings of a run.

    Attributes:
        models: The facts of its models.
        averaging: How its members were averaged.
        noisy_clips: The noisy clips that it was trained on.
    """

    models: Collection[ModelMetadata]
    averaging: Averaging
    noisy_clips: Collection[str]


def settings_differences(old: Settings, new: Settings) -> list[str]:
    """Return how the settings of two runs differ, one phrase for each kind of difference."""
    before, after = ({facts.member.id: facts for facts in run.models} for run in (old, new))
    found = [
        f"{what} {listed(sorted(members))}"
        for members, what in (
            (after.keys() - before.keys(), "it also has"),
            (before.keys() - after.keys(), "it lacks"),
        )
        if members
    ]
    changes: dict[str, list[str]] = defaultdict(list)  # the members by what changed
    for member in sorted(before.keys() & after.keys()):
        one, two = asdict(before[member].member), asdict(after[member].member)
        for name in two:
            if one[name] != two[name]:
                changes[f"{name} {two[name]} instead of {one[name]}"].append(member)
    shared = before.keys() & after.keys()
    found += [f"{'all members' if set(who) == shared else listed(who)}: {what}" for what, who in changes.items()]
    for name, values in (
        ("folds held out", [{facts.fold for facts in run.models} for run in (old, new)]),
        ("seed", [{facts.seed for facts in run.models} for run in (old, new)]),
        ("mean", [{run.averaging.mean} for run in (old, new)]),
    ):
        if values[0] != values[1]:
            found.append(f"{name} {_values(values[1])} instead of {_values(values[0])}")
    one_weights, two_weights = old.averaging.weights, new.averaging.weights
    if one_weights.keys() == two_weights.keys() and any(
        not math.isclose(one_weights[member], two_weights[member]) for member in one_weights
    ):
        found.append("other weights of the members in the average")
    more, fewer = (len({*run.noisy_clips} - {*other.noisy_clips}) for run, other in ((new, old), (old, new)))
    if more or fewer:
        found.append(f"{pluralize(more, 'noisy clip')} more to train on, and {number(fewer)} fewer")
    return found


def _values(values: Collection[Any]) -> str:
    """Return values for a message. The fold -1 is none: a model was trained on all clips."""
    return listed(["none" if value == -1 else str(value) for value in sorted(values)])
