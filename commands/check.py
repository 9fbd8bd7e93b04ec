"""Say what is wrong with a data folder, and what it holds."""

import argparse
from pathlib import Path

from audiotagging.dataset import DataError, fingerprint, read_dataset
from audiotagging.inspection import describe, durations
from audiotagging.sources import resolve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "--data",
        required=True,
        help="a folder, zenodo:3612637, kaggle:freesound-audio-tagging-2019, or a URL such as s3://bucket/data",
    )
    parser.add_argument(
        "--downloads",
        type=Path,
        default=Path("data"),
        help="where downloads and unpacked archives are kept (default: data)",
    )
    parser.add_argument(
        "--noisy", default="all", help="none, all, agreement, or a list of clips in the data folder (default: all)"
    )
    parser.add_argument(
        "--max-rejected",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="share of a part's clips that may be unreadable (default: 0.01)",
    )


def run(args: argparse.Namespace) -> int:
    """Print everything that is wrong, or else the notes and the summary.

    Returns:
        The exit code: 0 if the data can be used, 2 if not.
    """
    folder = resolve(args.data, downloads=args.downloads)
    try:
        dataset = read_dataset(folder, noisy=args.noisy)
        lines = describe(dataset, durations(dataset, max_rejected=args.max_rejected))
    except DataError as error:
        print(f"{folder} cannot be used. Problems: {len(error.problems)}")
        print(*error.problems, sep="\n")
        return 2
    print(f"{folder} can be used, fingerprint {fingerprint(dataset)}")
    print(*lines, *(f"note: {note}" for note in dataset.notes), sep="\n")
    return 0
