"""Compute the log-mel spectrograms of a data folder: only the stage `preprocess`.

Examples:
    audiotagging preprocess --data DIR --out spectrograms
    audiotagging preprocess --data DIR --out spectrograms --workers 4 --noisy none
"""

import argparse
from pathlib import Path

from audiotagging.base.files import partial_of
from audiotagging.base.working_folder import check_ours
from audiotagging.data.dataset import fingerprint, read_dataset, take_digests
from audiotagging.data.layouts.reading import Reading
from audiotagging.data.preprocessing import preprocess
from commands import check_counts
from commands.folders import check_folders
from commands.parameters import MAX_REJECTED, add_keep_audio, add_split_options, add_verify
from commands.reading import add_reading_options, reading_of
from commands.shares import share


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    data = parser.add_argument_group("the data")
    data.add_argument("--data", type=Path, required=True, metavar="DIR", help="the data folder")
    data.add_argument(
        "--noisy", choices=["all", "none"], default="all", help="the noisy clips to include (default: %(default)s)"
    )
    data.add_argument(
        "--max-rejected",
        type=share,
        default=MAX_REJECTED,
        metavar="SHARE",
        help="share of a part's clips that may be unusable (default: %(default)s)",
    )
    add_split_options(data)
    add_verify(data)
    add_reading_options(parser)
    results = parser.add_argument_group("results")
    results.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder of shards to create")
    results.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="number of worker processes (default: OMP_NUM_THREADS, or all usable cores)",
    )
    add_keep_audio(results)


def run(args: argparse.Namespace) -> int:
    """Read the data folder, and write the shards."""
    check_counts(args, "workers")
    out = args.out.resolve()
    check_folders(out, work=partial_of(out), data=args.data.resolve())
    check_ours(partial_of(out))
    dataset = read_dataset(
        args.data,
        noisy=args.noisy,
        reading=Reading.from_dict(reading_of(args, absolute=True)),
        test_share=args.test_share,
        seed=args.seed,
    )
    digests = take_digests(dataset)
    preprocess(
        dataset,
        out,
        fingerprint=fingerprint(dataset, digests),
        digests=digests,
        max_rejected=args.max_rejected,
        keep_audio=args.keep_audio,
        verify=args.verify,
        workers=args.workers,
    )
    print(args.out)
    return 0
