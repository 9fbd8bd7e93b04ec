"""Negatives: clips without labels because nothing is to be tagged in them, not because their labels are unknown."""

from collections.abc import Sequence
from dataclasses import replace

from audiotagging.artifacts.spectrogram_shards import NEGATIVE
from audiotagging.base.wording import pluralize
from audiotagging.data.layouts.contents import Contents, check_classes


def without_negatives(contents: Contents, names: Sequence[str], *, problems: list[str]) -> Contents:
    """Return contents without the classes that are none, whose clips are then negatives.

    Args:
        contents: The contents of a data folder.
        names: The names of these classes.
        problems: The list to which problems are added, one string each.
    """
    if unknown := [name for name in names if name not in contents.classes]:
        known = ", ".join(contents.classes[:5])
        problems.append(f"--negatives: expected classes such as {known}, found {unknown[0]!r}")
    clips = []
    for clip in contents.clips:
        labels = [label for label in clip.labels if label not in names]
        is_negative = not labels and (bool(clip.labels) or clip.part == "curated")
        clips.append(replace(clip, labels=labels, usage=NEGATIVE if is_negative else clip.usage))
    found = [clip for clip in clips if clip.usage == NEGATIVE]
    notes = list(contents.notes)
    if found:
        test = sum(clip.part == "test" for clip in found)
        notes.append(
            f"{pluralize(len(found) - test, 'training clip')} and {pluralize(test, 'test clip')} without labels: "
            "nothing is to be tagged in them"
        )
    classes = [name for name in contents.classes if name not in names]
    if names:
        check_classes(classes, source=contents.source, problems=problems)
    return replace(contents, classes=classes, clips=clips, notes=notes)
