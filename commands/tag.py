"""Tag sound files with the ensemble of a finished run."""

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from audiotagging.artifacts.champion import champion_folder
from audiotagging.data.data_folder import AUDIO_SUFFIXES
from audiotagging.errors import UserError
from audiotagging.machine import threads
from audiotagging.progress import track
from audiotagging.tagging.tagger import Tagged, Tagger


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE_OR_DIR", help="sound files, or folders of them")
    parser.add_argument(
        "--models", required=True, type=Path, metavar="DIR", help="output of a run, models/ in it, or a models location"
    )
    parser.add_argument("--top", type=int, default=5, metavar="N", help="tags a file (default: 5)")
    parser.add_argument("--format", choices=FORMATS, default="table", help="of what is printed (default: table)")


def run(args: argparse.Namespace) -> int:
    """Print every file's tags; those that cannot be read go to the error output, a line each."""
    if args.top < 1:
        raise UserError(f"--top expects a number from 1 on, found {args.top}")
    torch.set_num_threads(threads())
    tagger = Tagger(champion_folder(args.models) or args.models)
    paths = [path for given in args.files for path in _expand(given)]
    unread = [given for given in args.files if given.is_dir() and not _expand(given)]
    for folder in unread:
        print(f"{folder}: has no sound files", file=sys.stderr)

    def readable(files: Iterable[Tagged]) -> Iterator[tuple[Path, list[tuple[str, float]]]]:
        for file in files:
            if file.scores is None:
                print(f"{file.path}: {file.reason}", file=sys.stderr)
                unread.append(file.path)
            else:
                best = np.argsort(-file.scores, kind="stable")[: args.top]
                yield file.path, [(tagger.classes[number], float(file.scores[number])) for number in best]

    # On a terminal the results themselves show how far it is.
    steps = paths if sys.stdout.isatty() else track(paths, label="tag", total=len(paths))
    FORMATS[args.format](readable(tagger.tag(steps)))
    return 1 if unread else 0


def _expand(path: Path) -> list[Path]:
    """Return a file as it is, and a folder as the sound files in it and in its folders."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file())


Rows = Iterable[tuple[Path, list[tuple[str, float]]]]


def _print_table(rows: Rows) -> None:
    for path, tags in rows:
        print(f"{path}\n" + "\n".join(f"  {score:.3f}  {label}" for label, score in tags), flush=True)


def _print_csv(rows: Rows) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "rank", "label", "score"])
    for path, tags in rows:
        writer.writerows([path, rank, label, f"{score:.6g}"] for rank, (label, score) in enumerate(tags, 1))


def _print_json(rows: Rows) -> None:
    separator = "["
    for path, tags in rows:
        row = {"file": str(path), "tags": [{"label": label, "score": score} for label, score in tags]}
        print(separator, json.dumps(row), sep="\n", end="", flush=True)
        separator = ","
    print("[]" if separator == "[" else "\n]")


FORMATS = {"table": _print_table, "csv": _print_csv, "json": _print_json}
