"""Acoustic scenes of the DCASE challenges (TUT and TAU): `meta.csv`, `audio/`, and the lists of `evaluation_setup/`.

`meta.csv` has the columns `filename`, `scene_label` and `identifier`, the place of the recording; before 2018 it is
`meta.txt`, without their names. `fold1_train.csv` lists the training clips, and `fold1_evaluate.csv` the clips to be
scored: test clips if there is one such fold, and the clips of that fold if there are several. A clip in none of the
lists is not used (https://dcase.community, "Acoustic scene classification").
"""

import re
from dataclasses import replace
from pathlib import PurePosixPath

from audiotagging.base.wording import pluralize
from audiotagging.data.layouts.clip_table import read_clip_tables
from audiotagging.data.layouts.contents import Contents
from audiotagging.data.layouts.reading import Reading
from audiotagging.data.layouts.sound_names import SoundNames
from audiotagging.data.layouts.table_files import read_tables
from audiotagging.data.layouts.tree import Tree, name_of

SETUP = "evaluation_setup"
LIST = re.compile(r"fold(\d+)_(train|evaluate)")
HEADERLESS = {"path": ["1"], "labels": ["2"], "group": ["3"]}


def meta_of_scenes(tree: Tree) -> PurePosixPath | None:
    """Return the table of scenes of a data folder that has lists of folds too, or None."""
    setups = {file.parent.parent for file in tree.others if file.parent.name == SETUP and LIST.match(file.stem)}
    tables = (file for file in tree.others if file.name in ("meta.csv", "meta.txt") and file.parent in setups)
    return next(tables, None)


def read_scenes(
    tree: Tree, meta: PurePosixPath, sounds: SoundNames, *, reading: Reading, problems: list[str]
) -> Contents | None:
    """Read a data folder.

    Args:
        tree: Its files.
        meta: The table of scenes.
        sounds: Its sounds.
        reading: The user's wishes.
        problems: The list to which problems are added, one string each.

    Returns:
        The contents, or None if the table cannot be read.
    """
    tables = read_tables(tree, [meta], sounds, reading=reading, problems=problems)
    if tables and tables[0].columns.header[:1] == ["1"]:
        width = len(tables[0].columns.header)
        named = {role: places for role, places in HEADERLESS.items() if int(places[0]) <= width}
        tables = read_tables(tree, [meta], sounds, reading=replace(reading, columns=named), problems=problems)
    if not tables or not tables[0].is_of_clips:
        problems.append(f"{name_of(meta)}: expected the columns filename and scene_label, found others")
        return None
    setup = [file for file in tree.others if file.parent == meta.parent / SETUP]
    contents = read_clip_tables(
        tree, [(tables[0], "")], sounds, reading=reading, partial=True, used=setup, problems=problems
    )
    listed = {file: _listed(tree, file, sounds, problems) for file in setup if LIST.match(file.stem)}
    evaluated = {
        int(match[1]): sounds_of
        for file, sounds_of in listed.items()
        if (match := LIST.match(file.stem)) and match[2] == "evaluate"
    }
    everything = set().union(*listed.values())
    clips = [clip for clip in contents.clips if clip.path in everything]
    for clip in clips:
        fold = next((fold for fold, paths in sorted(evaluated.items()) if clip.path in paths), None)
        if fold is not None and len(evaluated) == 1:
            clip.part = "test"
        elif fold is not None:
            clip.fold = fold - 1
    clips.sort(key=lambda clip: clip.part == "test")
    what = "test clips" if len(evaluated) == 1 else f"folds 0 to {len(evaluated) - 1}"
    notes = [*contents.notes, f"{SETUP}/: the clips to evaluate are {what}"]
    if left := len(contents.clips) - len(clips):
        notes.append(f"{SETUP}/: {pluralize(left, 'clip')} in none of its lists, left out")
    return replace(contents, clips=clips, notes=notes)


def _listed(tree: Tree, file: PurePosixPath, sounds: SoundNames, problems: list[str]) -> set[str]:
    """Return the paths of the sounds in a list of the data folder."""
    tables = read_tables(tree, [file], sounds, reading=Reading(), problems=problems)
    return {str(tree.folder / sound) for table in tables for sound in table.sounds}
