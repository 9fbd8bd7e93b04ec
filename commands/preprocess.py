"""Turn the clips of a data folder into log-mel spectrograms: the stage `preprocess` alone."""

import argparse
from pathlib import Path

from audiotagging.data.dataset import fingerprint, read_dataset
from audiotagging.data.preprocessing import preprocess
from audiotagging.errors import UserError
from commands.parameters import share


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the data folder")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder of shards to make")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes to use; default: OMP_NUM_THREADS, or all usable cores"
    )
    parser.add_argument("--seed", type=int, default=534, help="seed of the folds; default: %(default)s")
    parser.add_argument("--noisy", default="all", help="which noisy clips to use; default: %(default)s")
    parser.add_argument(
        "--max-rejected",
        type=share,
        default=0.01,
        metavar="SHARE",
        help="share of a part's clips that may be unusable; default: %(default)s",
    )


def run(args: argparse.Namespace) -> int:
    """Read the data folder, write the shards."""
    if args.workers is not None and args.workers < 1:
        raise UserError(f"--workers: expected at least 1, found {args.workers}")
    dataset = read_dataset(args.data, seed=args.seed, noisy=args.noisy)
    preprocess(
        dataset,
        args.out,
        workers=args.workers,
        max_rejected=args.max_rejected,
        fingerprint=fingerprint(dataset),
    )
    print(args.out)
    return 0
