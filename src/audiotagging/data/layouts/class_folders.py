"""A folder per class: `DIR/dog/*.wav`, at any depth below `dog/`.

Test clips are in `DIR/test/dog/*.wav`, or in `DIR/test/*.wav` if their labels are unknown. The class folders may also
be in `DIR/train/`, if there is no other folder beside it than `test/`.
"""

from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from audiotagging.base.wording import pluralize
from audiotagging.data.layouts.contents import Clip, Contents, check_classes, shorten
from audiotagging.data.layouts.label_cells import clean
from audiotagging.data.layouts.tree import Tree, name_of

SOURCE = "the folders of the classes"
TRAIN, TEST = "train", "test"
VALIDATION = {"val", "valid", "validation", "dev", "eval"}  # what others call a folder of held-out clips


def read_class_folders(tree: Tree, *, used: Collection[PurePosixPath] = (), problems: list[str]) -> Contents:
    """Read a data folder.

    Args:
        tree: Its files.
        used: The files beside the sounds that are used.
        problems: The list to which problems are added, one string each.
    """
    root = _root(tree, problems)
    test = [sound for sound in tree.sounds if sound.parts[0] == TEST]
    training = [sound for sound in tree.sounds if sound.parts[0] != TEST and sound.is_relative_to(root)]
    loose = [sound for sound in training if sound.parent == root]
    clips = [*_clips(tree, training, root=root), *_clips(tree, test, root=PurePosixPath(TEST), part="test")]
    clips = [clip for clip in clips if clip.labels or clip.part == "test"]

    classes = sorted({label for clip in clips if clip.part == "curated" for label in clip.labels})
    check_classes(classes, source=SOURCE, problems=problems)
    untrained = sorted({label for clip in clips for label in clip.labels} - set(classes))
    problems += [
        f"{TEST}/{label}: no training clip is of this class; add {label}/ beside {TEST}/" for label in untrained
    ]
    _check_empty(tree, root, problems)
    notes = tree.notes(used=used)
    if loose:
        names = shorten([name_of(sound) for sound in loose])
        notes.append(f"{pluralize(len(loose), 'sound')} in no folder of a class, left out: {names}")
    return Contents(SOURCE, classes, clips, notes)


def _root(tree: Tree, problems: list[str]) -> PurePosixPath:
    """Return the folder that has the folders of the classes: `train/`, or the data folder itself."""
    tops = {sound.parts[0] for sound in tree.sounds if len(sound.parts) > 1}
    in_train = {len(sound.parts) > 2 for sound in tree.sounds if sound.parts[0] == TRAIN}
    if in_train != {True} or tops - {TRAIN, TEST} - VALIDATION:
        return PurePosixPath()
    if others := sorted(tops & VALIDATION):
        problems.append(
            f"{others[0]}/: expected only {TRAIN}/ and {TEST}/, found clips for validation; move them to {TRAIN}/, "
            "where folds hold clips out in turn"
        )
    return PurePosixPath(TRAIN)


def _clips(
    tree: Tree, sounds: Iterable[PurePosixPath], *, root: PurePosixPath, part: str = "curated"
) -> Iterable[Clip]:
    """Yield the clips of one part. The folder below the root is the class."""
    for sound in sounds:
        below = sound.relative_to(root).parts
        labels = [clean(name_of(below[0]))] if len(below) > 1 else []
        yield Clip(name_of(sound), part, str(tree.folder / sound), labels)


def _check_empty(tree: Tree, root: PurePosixPath, problems: list[str]) -> None:
    """Check that every folder of a class has a sound."""
    problems += [
        f"{name_of(folder)}/: expected sounds in the folder of a class, found none; add some, or remove the folder"
        for folder in tree.empty
        if folder.parent in (root, PurePosixPath()) and folder != PurePosixPath()
    ]
