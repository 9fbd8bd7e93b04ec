"""Lists of test and validation clips beside folders of classes, as those of Speech Commands and GTZAN.

Speech Commands has `testing_list.txt` and `validation_list.txt`; names of its sounds begin with the speaker
(`0a7c2a8d_nohash_0.wav`), who is the group (P. Warden, "Speech Commands", arXiv:1804.03209). The long recordings in its
folder `_background_noise_` are no class.
"""

from collections.abc import Sequence
from dataclasses import replace

from audiotagging.base.wording import pluralize
from audiotagging.data.layouts.contents import Contents, shorten
from audiotagging.data.layouts.splits import TEST, TRAIN, VALIDATION, VALIDATION_FOLD, split_in, validation_note
from audiotagging.data.layouts.table_files import Table
from audiotagging.data.layouts.tree import Tree

SPEAKER = "_nohash_"
NOISE = "_background_noise_"


def lists_of_splits(tables: Sequence[Table]) -> list[Table]:
    """Return the tables that have nothing but the names of sounds, and the name of a split."""
    return [table for table in tables if table.is_a_list and split_in(table.file.stem)]


def apply_lists(contents: Contents, lists: Sequence[Table], tree: Tree, *, negatives: Sequence[str]) -> Contents:
    """Return contents whose clips are in the splits of some lists.

    Args:
        contents: The contents of a data folder with a folder per class.
        lists: The lists, at least one.
        tree: The files of the folder.
        negatives: Classes that are none, which may be the background noise.
    """
    clips, notes = list(contents.clips), list(contents.notes)
    split_of: dict[str, str] = {}
    for table in lists:
        split = split_in(table.file.stem) or TRAIN
        split_of |= {str(tree.folder / sound): split for sound in table.sounds}
        notes.append(f"{table.name} lists {pluralize(len(table.sounds), f'{split} clip')}")
    notes += validation_note(sum(split == VALIDATION for split in split_of.values()))
    noise = [clip for clip in clips if clip.labels == [NOISE]]
    if noise and NOISE not in negatives:
        clips = [clip for clip in clips if clip.labels != [NOISE]]
        notes.append(
            f"{NOISE}/: {pluralize(len(noise), 'recording')} of noise, which is no class, left out; --negatives "
            f"{NOISE} makes it clips without labels"
        )
    if TRAIN in split_of.values() and (left := [clip.clip for clip in clips if clip.path not in split_of]):
        clips = [clip for clip in clips if clip.path in split_of]
        notes.append(f"{pluralize(len(left), 'sound')} in none of the lists, left out: {shorten(left)}")
    for clip in clips:
        split = split_of.get(clip.path, TRAIN)
        clip.part = "test" if split == TEST else "curated"
        clip.fold = VALIDATION_FOLD if split == VALIDATION else -1
        speaker, found, _ = clip.clip.rpartition("/")[2].partition(SPEAKER)
        clip.group = speaker if found else ""
    clips.sort(key=lambda clip: clip.part == "test")
    classes = [name for name in contents.classes if name != NOISE or NOISE in negatives]
    return replace(contents, classes=classes, clips=clips, notes=notes)
