"""Lists of test and validation clips beside folders of classes, as those of Speech Commands and GTZAN.

Speech Commands has `testing_list.txt` and `validation_list.txt`; names of its sounds begin with the speaker
(`0a7c2a8d_nohash_0.wav`), who is the group (P. Warden, "Speech Commands", arXiv:1804.03209). The long recordings in its
folder `_background_noise_` are no class.
"""

from collections.abc import Sequence
from dataclasses import replace

from audiotagging.data.layouts.contents import Contents
from audiotagging.data.layouts.splits import TEST, TRAIN, VALIDATION, VALIDATION_FOLD, split_in
from audiotagging.data.layouts.table_files import Table
from audiotagging.data.layouts.tree import Tree
from audiotagging.wording import counted

SPEAKER = "_nohash_"
NOISE = "_background_noise_"


def apply_lists(contents: Contents, lists: Sequence[Table], tree: Tree, *, negatives: Sequence[str]) -> Contents:
    """Return contents whose clips are in the splits of some lists.

    Args:
        contents: The contents of a data folder with a folder per class.
        lists: Tables with nothing but names of sounds.
        tree: The files of the folder.
        negatives: Classes that are none, which may be the background noise.
    """
    notes = [note for note in contents.notes if "other kinds" not in note]
    split_of: dict[str, str] = {}
    for table in lists:
        split = split_in(table.file.stem)
        if split:
            split_of |= {str(tree.folder / sound): split for sound in table.sounds}
            fold = f" in fold {VALIDATION_FOLD}: --folds {VALIDATION_FOLD} holds them out" if split == VALIDATION else ""
            notes.append(f"{table.name}: {counted(len(table.sounds), 'sound')} are {split} clips{fold}")
    notes[:0] = tree.notes(used={table.file for table in lists if split_in(table.file.stem)})
    if not split_of:
        return contents
    clips = list(contents.clips)
    noise = [clip for clip in clips if clip.labels == [NOISE]]
    if noise and NOISE not in negatives:
        clips = [clip for clip in clips if clip.labels != [NOISE]]
        notes.append(
            f"{NOISE}/: {counted(len(noise), 'recording')} of noise, which is no class, left out; --negatives {NOISE} "
            "makes it clips without labels"
        )
    has_train = TRAIN in split_of.values()
    if has_train and (left := sum(clip.path not in split_of for clip in clips)):
        notes.append(f"{counted(left, 'sound')} in none of the lists, left out")
        clips = [clip for clip in clips if clip.path in split_of]
    for clip in clips:
        split = split_of.get(clip.path, TRAIN)
        clip.part = "test" if split == TEST else "curated"
        clip.fold = VALIDATION_FOLD if split == VALIDATION else -1
        speaker, found, _ = clip.clip.rpartition("/")[2].partition(SPEAKER)
        clip.group = speaker if found else clip.group
    clips.sort(key=lambda clip: clip.part == "test")
    classes = [name for name in contents.classes if name != NOISE or NOISE in negatives]
    return replace(contents, classes=classes, clips=clips, notes=notes)
