"""The parameters of the pipeline `tagging` as options, which `run`, `submit` and `schedule` share."""

import argparse
from typing import Any

from audiotagging.artifacts.calibration import TARGET_PRECISIONS
from commands import check_counts

# Defaults of the pipeline's parameters and of the options that set them.
WINDOW = 2.0
OVERLAP = 0.0
MERGE = False
TOP = 5
ANY_PRECISION = 0.0
SHARDS = 4


def add_parameters(parser: argparse.ArgumentParser, *, required: bool = True, models: str | None = None) -> None:
    """Add the options that become the pipeline's parameters, except for the number of shards.

    Args:
        parser: The parser to add them to.
        required: Whether the folders are required.
        models: Where the models are by default. None if that must be said.
    """
    folders = parser.add_argument_group("the sounds")
    folders.add_argument(
        "--data", required=required, metavar="DIR", help="folder of sound files, or its URL in an object store"
    )
    folders.add_argument(
        "--models",
        required=required and not models,
        default=models,
        metavar="DIR",
        help="champions folder, or output of a run" + (f" (default: {models})" if models else ""),
    )
    folders.add_argument(
        "--out",
        required=required,
        metavar="DIR",
        help="folder of the results, or its URL in an object store; every batch adds to it",
    )
    add_tag_options(parser.add_argument_group("the tags"))
    windows = parser.add_argument_group("where in a file")
    windows.add_argument(
        "--window", type=float, default=WINDOW, metavar="SECONDS", help="length of a window (default: %(default)s)"
    )
    add_window_options(windows)


def add_tag_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that choose the tags, which the command `tag` takes too."""
    group.add_argument(
        "--top", type=int, default=TOP, metavar="N", help="number of tags per file or window (default: %(default)s)"
    )
    group.add_argument(
        "--precision",
        type=float,
        choices=TARGET_PRECISIONS,
        metavar="SHARE",
        help="only tags of which this share (0.8, 0.9 or 0.95) is right on clips like those of training, with "
        "calibrated scores",
    )


def add_window_options(group: argparse._ArgumentGroup) -> None:
    """Add the options of windows that the command `tag` takes too."""
    group.add_argument(
        "--overlap",
        type=float,
        default=OVERLAP,
        metavar="SECONDS",
        help="the part of a window that the next one covers too (default: 0)",
    )
    group.add_argument("--merge", action="store_true", help="merge neighbouring windows with the same label")


def parameters(args: argparse.Namespace, *, shards: int) -> dict[str, Any]:
    """Convert parsed options to the pipeline's parameters.

    Args:
        args: The options.
        shards: The largest number of shards that are tagged at once.

    Raises:
        UserError: If a number is out of range.
    """
    check_counts(args, "top")
    values = {name: getattr(args, name) for name in ("data", "out", "models", "window", "overlap", "merge", "top")}
    return values | {"precision": args.precision or ANY_PRECISION, "shards": shards}
