"""Divides the clips of a data folder into test clips, training clips and folds, and checks that this is possible."""

from collections import defaultdict
from collections.abc import Collection, Iterable

import numpy as np

from audiotagging.artifacts.selection import DEALT_FOLDS
from audiotagging.base.wording import listed, pluralize
from audiotagging.data.layouts.contents import Clip, Contents, shorten
from audiotagging.statistics.stratification import stratify

CLASSES_NAMED = 8


def draw_test_clips(contents: Contents, *, share: float, seed: int, problems: list[str]) -> None:
    """Turn a share of the training clips of every class into test clips. The clips of a group stay together.

    Args:
        contents: The contents of the data folder, whose clips and notes are changed.
        share: The share, from 0 to 1.
        seed: Seed of the draw.
        problems: The list to which problems are added, one string each.
    """
    if not share:
        return
    clips = contents.clips
    if given := sum(clip.part == "test" for clip in clips):
        problems.append(
            f"--test-share draws test clips, but the data have {given} test clips already; leave it out, or remove them"
        )
        return
    training = [clip for clip in clips if clip.part == "curated"]
    parts = stratify(
        [clip.clip for clip in training],
        [clip.labels for clip in training],
        shares=[share, 1 - share],
        seed=seed,
        groups=_units(training),
    )
    for clip, part in zip(training, parts, strict=True):
        if part == 0:
            clip.part, clip.fold = "test", -1
    clips.sort(key=lambda clip: clip.part == "test")
    contents.notes.append(f"test clips: {(parts == 0).sum()} of {len(training)}, drawn with seed {seed}")
    tested, trained = _labels(clips, part="test"), _labels(clips, part="curated")
    if untested := [name for name in contents.classes if name not in tested]:
        contents.notes.append(
            f"--test-share {share:g} draws no clip of {pluralize(len(untested), 'class')}, so that no score on test "
            f"clips counts {_them(untested)}: {_name_classes(untested, training)}"
        )
    if untrained := [name for name in contents.classes if name not in trained]:
        problems.append(
            f"--test-share {share:g} draws every clip of {pluralize(len(untrained), 'class')}, so that none is left to "
            f"train on: {_name_classes(untrained, training)}; draw with another --seed or a smaller share, or name "
            "the test clips in a column split"
        )


def deal_folds(contents: Contents, *, seed: int) -> bool:
    """Deal the training clips to folds if some of them are in groups, whose clips then stay together.

    If the data have validation clips, which are fold 0, the others are dealt to the other folds. Few groups fill at
    most as many folds as there are groups. Clips without groups and validation clips get their folds from the stage
    `select`, unless the data have folds.

    Args:
        contents: The contents of the data folder, whose clips and notes are changed.
        seed: Seed of the stratification.

    Returns:
        Whether some clips were dealt.
    """
    training = [clip for clip in contents.clips if clip.part == "curated"]
    dealt = [clip for clip in training if clip.fold < 0]
    first = 1 if len(dealt) < len(training) else 0
    if not dealt or not (first or any(clip.group for clip in training)):
        return False
    names, labels, units = [clip.clip for clip in dealt], [clip.labels for clip in dealt], _units(dealt)
    groups, most = len(set(units)), DEALT_FOLDS - first
    found = stratify(names, labels, shares=[1] * min(most, groups), seed=seed, groups=units)
    filled, numbers = np.unique(found, return_inverse=True)  # without gaps
    for clip, fold in zip(dealt, numbers.tolist(), strict=True):
        clip.fold = fold + first
    if len(filled) < most:
        folds = {clip.fold for clip in training}
        fill, there = "fills" if groups == 1 else "fill", "there is" if len(folds) == 1 else "there are"
        beside = " beside the validation clips" if first else ""
        contents.notes.append(
            f"{pluralize(groups, 'group')} of training clips{beside} {fill} at most "
            f"{pluralize(min(groups, most), 'fold')}: {there} {_name_folds(folds)}"
        )
    return True


def _units(clips: list[Clip]) -> list[str]:
    """Return what stays together: the group of every clip, or the clip itself."""
    return [f"group {clip.group}" if clip.group else f"clip {clip.clip}" for clip in clips]


def _labels(clips: list[Clip], *, part: str) -> set[str]:
    return {label for clip in clips if clip.part == part for label in clip.labels}


def _name_classes(names: list[str], clips: list[Clip]) -> str:
    """Return the first of some classes, with the number of their groups or clips and, if there are folds, these."""
    noun = "group" if any(clip.group for clip in clips) else "clip"
    described = []
    for name in names[:CLASSES_NAMED]:
        own = [clip for clip in clips if name in clip.labels]
        folds = {clip.fold for clip in own if clip.fold >= 0}
        where = f" in {_name_folds(folds)}" if folds else ""
        described.append(f"{name!r} ({pluralize(len(set(_units(own))), noun)}{where})")
    more = [f"{len(names) - CLASSES_NAMED} more"] if len(names) > CLASSES_NAMED else []
    return listed([*described, *more])


def _them(names: list[str]) -> str:
    return "it" if len(names) == 1 else "them"


def _name_folds(folds: Iterable[int]) -> str:
    numbers = sorted(set(folds))
    return f"{'fold' if len(numbers) == 1 else 'folds'} {listed([str(fold) for fold in numbers])}"


def check_clips(contents: Contents, *, problems: list[str]) -> None:
    """Check the names and groups of the clips, and that there are enough of them for the folds and of every class.

    Args:
        contents: The contents of the data folder, whose notes are added to.
        problems: The list to which problems are added, one string each.
    """
    source, clips = contents.source, contents.clips
    training = [clip for clip in clips if clip.part == "curated"]
    _check_groups(clips, problems)
    folds = {clip.fold for clip in training if clip.fold >= 0}
    if folds:
        if len(folds) < 2 and not any(clip.group for clip in training):
            problems.append(f"{source}: expected at least 2 folds in the column fold, found {len(folds)}")
    elif len(training) < DEALT_FOLDS:
        problems.append(f"{source}: expected at least one clip for each of {DEALT_FOLDS} folds, found {len(training)}")
    trained = _labels(training, part="curated")
    problems += [
        f"{source}: the class {name!r} has no curated clip" for name in contents.classes if name not in trained
    ]
    _note_rare_classes(contents, training, folds)


def _note_rare_classes(contents: Contents, training: list[Clip], folds: Collection[int]) -> None:
    """Note the classes that are in fewer folds than there are, and those that are in one alone.

    Folds that the stage `select` deals are not known yet. As many of them have a class as it has clips, at most.
    """
    places = defaultdict(set)
    for clip in training:
        for label in clip.labels:
            places[label].add(clip.fold if folds else clip.clip)
    count, source = len(folds) or DEALT_FOLDS, contents.source
    noisy = _labels(contents.clips, part="noisy")  # which every model may be trained on
    alone = [name for name in contents.classes if len(places[name]) == 1 < count and name not in noisy]
    few = [name for name in contents.classes if 0 < len(places[name]) < count and name not in alone]
    if alone:
        contents.notes.append(
            f"{source}: {pluralize(len(alone), 'class')} in one fold only, so that no model that holds it out is "
            f"trained on {_them(alone)}: {_name_classes(alone, training)}; left out of the out-of-fold scores, the "
            "fitted weights, the thresholds and the suspicious labels"
        )
    if few:
        contents.notes.append(
            f"{source}: {pluralize(len(few), 'class')} in fewer than the {count} folds: {_name_classes(few, training)}"
        )


def _check_groups(clips: list[Clip], problems: list[str]) -> None:
    """Check that the clips of every group are on one side of the test split, and in one fold."""
    members: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if clip.group:
            members[clip.group].append(clip)
    sides = [name for name, group in members.items() if len({clip.part for clip in group}) > 1]
    if sides:
        problems.append(
            f"{pluralize(len(sides), 'group')} with both training and test clips ({shorten(sides)}); put each on one "
            "side, or leave the split out and use --test-share"
        )
    torn = [name for name, group in members.items() if len({clip.fold for clip in group if clip.part == "curated"}) > 1]
    if torn:
        problems.append(
            f"{pluralize(len(torn), 'group')} in several folds ({shorten(torn)}); put each in one, or leave folds out"
        )
