"""Check a data folder: print everything that is wrong with it, or a summary of its content.

Examples:
    audiotagging check --data DIR
    audiotagging check --data zenodo:3612637 --downloads /big/disk
"""

import argparse
from pathlib import Path

from audiotagging.artifacts.near_duplicates import describe_alike
from audiotagging.artifacts.verified import describe_verified
from audiotagging.base.errors import brief, in_one_line
from audiotagging.data.dataset import DataError, fingerprint, read_dataset, take_digests
from audiotagging.data.ingest import check_folds
from audiotagging.data.layouts.reading import Reading
from audiotagging.data.preprocessing import listen
from audiotagging.data.sources import resolve
from audiotagging.data.summary import describe, describe_classes, describe_incomplete, durations
from commands.parameters import absolute_paths, add_data_options
from commands.reading import reading_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_data_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print all problems or, if there are none, the summary and the notes.

    Returns:
        The exit code: 0 if the data can be used, 2 if not.
    """
    folder = resolve(args.data, downloads=Path(args.downloads))
    try:
        dataset = read_dataset(
            folder,
            noisy=args.noisy,
            corrections=absolute_paths(args.corrections),
            reading=Reading.from_dict(reading_of(args, absolute=True)),
            test_share=args.test_share,
            seed=args.seed,
        )
        check_folds(dataset, args.folds)
        lines = describe(dataset, durations(dataset, max_rejected=args.max_rejected))
        found = fingerprint(dataset, take_digests(dataset, downloads=Path(args.downloads)))
        heard = listen(dataset, max_rejected=args.max_rejected, fingerprint=found, verify=args.verify)
    except DataError as error:
        print(f"{brief(str(folder))} cannot be used. Problems: {len(error.problems)}")
        print(*map(brief, error.problems), sep="\n")
        return 2
    print(f"{brief(str(folder))} can be used, fingerprint {found}")
    if heard.verified:
        lines.append(describe_verified(heard.verified))
    notes = [*dataset.notes, *describe_incomplete(dataset, heard.clips), *describe_alike(heard.alike, dataset.clips)]
    notes = [f"note: {note}" for note in notes]
    print(*map(brief, lines), "", *map(in_one_line, describe_classes(dataset, heard.clips)), "", sep="\n")
    print(*map(brief, notes), sep="\n")
    return 0
