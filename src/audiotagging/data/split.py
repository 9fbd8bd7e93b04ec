"""Divides the clips of a data folder into test clips, training clips and folds, and checks that this is possible."""

from collections import Counter, defaultdict

from audiotagging.artifacts.selection import DEALT_FOLDS
from audiotagging.data.layouts.contents import Clip, Contents, shorten
from audiotagging.stratification import stratify
from audiotagging.wording import counted

CLASSES_NAMED = 3


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


def deal_folds(clips: list[Clip], *, seed: int) -> bool:
    """Deal the training clips to folds if some of them are in groups, whose clips then stay together.

    If the data have validation clips, which are fold 0, the others are dealt to the other folds. Clips without groups
    and validation clips get their folds from the stage `select`, unless the data have folds.

    Args:
        clips: The clips, which are changed.
        seed: Seed of the stratification.

    Returns:
        Whether some clips were dealt.
    """
    training = [clip for clip in clips if clip.part == "curated"]
    dealt = [clip for clip in training if clip.fold < 0]
    first = 1 if len(dealt) < len(training) else 0
    if not dealt or not (first or any(clip.group for clip in training)):
        return False
    names, labels = [clip.clip for clip in dealt], [clip.labels for clip in dealt]
    folds = stratify(names, labels, shares=[1] * (DEALT_FOLDS - first), seed=seed, groups=_units(dealt))
    for clip, fold in zip(dealt, folds, strict=True):
        clip.fold = int(fold) + first
    return True


def _units(clips: list[Clip]) -> list[str]:
    """Return what stays together: the group of every clip, or the clip itself."""
    return [f"group {clip.group}" if clip.group else f"clip {clip.clip}" for clip in clips]


def check_clips(contents: Contents, *, problems: list[str]) -> None:
    """Check the names and groups of the clips, and that there are enough of them for the folds and of every class.

    Args:
        contents: The contents of the data folder, whose notes are added to.
        problems: The list to which problems are added, one string each.
    """
    source, clips = contents.source, contents.clips
    training = [clip for clip in clips if clip.part == "curated"]
    _check_groups(clips, problems)
    folds = DEALT_FOLDS
    if any(clip.fold >= 0 for clip in training):
        folds = len({clip.fold for clip in training})
        if folds < 2 and not any(clip.group for clip in training):
            problems.append(f"{source}: expected at least 2 folds in the column fold, found {folds}")
    elif len(training) < folds:
        problems.append(f"{source}: expected at least one clip for each of {folds} folds, found {len(training)}")
    clips_of = Counter(label for clip in training for label in clip.labels)
    problems += [f"{source}: the class {name!r} has no curated clip" for name in contents.classes if not clips_of[name]]
    few = [name for name in contents.classes if 0 < clips_of[name] < folds]
    contents.notes.extend(
        f"{source}: the class {name!r} has {counted(clips_of[name], 'clip')} for {folds} folds"
        for name in few[:CLASSES_NAMED]
    )
    if len(few) > CLASSES_NAMED:
        contents.notes.append(
            f"{source}: {counted(len(few) - CLASSES_NAMED, 'more class')} with fewer clips than there are folds"
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
            f"{counted(len(sides), 'group')} with both training and test clips ({shorten(sides)}); put each on one "
            "side, or leave the split out and use --test-share"
        )
    torn = [name for name, group in members.items() if len({clip.fold for clip in group if clip.part == "curated"}) > 1]
    if torn:
        problems.append(
            f"{counted(len(torn), 'group')} in several folds ({shorten(torn)}); put each in one, or leave folds out"
        )
