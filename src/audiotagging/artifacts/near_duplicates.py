"""Clips that sound alike: `alike.csv` in the folder of the spectrograms, with the columns `clip` and `group`.

The clips of a group sound alike, so that the column can be taken over into the table of a data folder. There is no file
if no clips sound alike.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from audiotagging.base.tables import read_csv, write_csv
from audiotagging.base.wording import listed, pluralize

ALIKE = "alike.csv"
GROUPS_NAMED = 3
CLIPS_NAMED = 4  # of a group


def write_alike(folder: Path, groups: Sequence[Sequence[str]]) -> None:
    """Write the clips that sound alike, if there are any, to an existing folder.

    Args:
        folder: The folder.
        groups: The names of the clips of each group.
    """
    if groups:
        rows = [(clip, number) for number, clips in enumerate(groups, 1) for clip in clips]
        write_csv(folder / ALIKE, pd.DataFrame(rows, columns=["clip", "group"]))


def read_alike(folder: Path) -> list[list[str]]:
    """Read the clips that sound alike: the names of the clips of each group.

    Raises:
        UserError: If the table cannot be read or is corrupt.
    """
    if not (folder / ALIKE).exists():
        return []
    table = read_csv(folder / ALIKE, {"clip": str, "group": int}, key=["clip"])
    groups = defaultdict(list)
    for clip, group in zip(table["clip"], table["group"], strict=True):
        groups[group].append(clip)
    return list(groups.values())


def describe_alike(groups: Sequence[Sequence[str]], clips: pd.DataFrame) -> list[str]:
    """Return what a user should know about clips that sound alike, one string per kind of group.

    Args:
        groups: The names of the clips of each group.
        clips: One row per clip, with at least `clip`, `part` and `labels`.
    """
    tests = set(clips["clip"][clips["part"] == "test"])
    labels = {clip: frozenset(found) for clip, found in zip(clips["clip"], clips["labels"], strict=True)}
    across = [group for group in groups if 0 < len(tests.intersection(group)) < len(group)]
    training = [group for group in groups if tests.isdisjoint(group)]
    conflicts = [group for group in groups if len({labels[clip] for clip in group if labels[clip]}) > 1]
    kinds = (
        (across, "", "of test and training clips, which raises the scores; make each a group of the data"),
        (training, "", "of training clips, which raises out-of-fold scores; make each a group of the data"),
        (conflicts, " with different labels", "; check their labels"),
    )
    return [_describe(found, which=which, what=what) for found, which, what in kinds if found]


def _describe(groups: Sequence[Sequence[str]], *, which: str, what: str) -> str:
    shown, left = groups[:GROUPS_NAMED], len(groups) - GROUPS_NAMED
    named = "; ".join([*map(_name, shown), *([f"and {pluralize(left, 'more group')}"] if left > 0 else [])])
    is_cut = left > 0 or any(len(group) > CLIPS_NAMED for group in shown)
    where = f"; {ALIKE} beside the spectrograms of a run lists all" if is_cut else ""
    clips = pluralize(sum(map(len, groups)), "clip")
    return f"{clips}{which} sound alike in {pluralize(len(groups), 'group')} {what}: {named}{where}".replace(" ;", ";")


def _name(clips: Sequence[str]) -> str:
    if len(clips) <= CLIPS_NAMED:
        return listed(clips)
    return f"{', '.join(clips[:CLIPS_NAMED])} and {len(clips) - CLIPS_NAMED} more"
