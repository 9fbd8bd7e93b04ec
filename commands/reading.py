"""The options that say how a data folder is to be read, for `check`, `preprocess`, `run`, `submit` and `schedule`."""

import argparse
from pathlib import Path
from typing import Any

from audiotagging.data.layouts.reading import ROLES
from commands.shares import share

OPTIONS = {role: f"{role.removesuffix('s')}_column" for role in ROLES}
USED_AS = {
    "path": "the names of the sounds",
    "labels": "the labels; several columns add up",
    "start": "where a label begins, in seconds",
    "end": "where a label ends, in seconds",
    "fold": "the folds",
    "split": "which clips are for training, validation and test",
    "group": "which clips belong together",
    "confidence": "how sure a label is",
}


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    group = parser.add_argument_group("how to read the data, where their own layout does not say it")
    group.add_argument("--table", default="", metavar="FILE", help="the table of clips in the data folder")
    group.add_argument(
        "--sounds", default="", metavar="DIR", help="the folder of the sounds, in the data folder or elsewhere"
    )
    for role, option in OPTIONS.items():
        group.add_argument(
            f"--{option.replace('_', '-')}",
            nargs="+" if role == "labels" else 1,
            metavar="NAME",
            help=f"the column with {USED_AS[role]} ('none' for none; a number if the columns have no names)",
        )
    group.add_argument(
        "--negatives",
        nargs="+",
        default=[],
        metavar="NAME",
        help="folders or labels that are no class: in their clips, nothing is to be tagged",
    )
    group.add_argument(
        "--allow-unlabelled",
        action="store_true",
        help="take training clips without labels: nothing is to be tagged in them",
    )
    group.add_argument(
        "--min-confidence",
        type=share,
        metavar="SHARE",
        help="leave out labels that the data are less sure of (default: refuse labels that are not certain)",
    )


def reading_of(args: argparse.Namespace, *, absolute: bool = False) -> dict[str, Any]:
    """Return the parameter of the pipeline: what the options change of `audiotagging.data.layouts.reading.Reading`.

    Args:
        args: The parsed options.
        absolute: Whether the sounds may be in a folder of this machine, whose path is then made absolute.
    """
    sounds = args.sounds
    if absolute and sounds and not (Path(args.data) / sounds).is_dir() and Path(sounds).is_dir():
        sounds = str(Path(sounds).resolve())
    wishes = {
        "table": args.table,
        "sounds": sounds,
        "columns": {role: names for role, option in OPTIONS.items() if (names := getattr(args, option))},
        "negatives": args.negatives,
        "allow_unlabelled": args.allow_unlabelled,
        "min_confidence": args.min_confidence,
    }
    return {name: wish for name, wish in wishes.items() if wish or (name == "min_confidence" and wish is not None)}
