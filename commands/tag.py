"""Tag sound files with the ensemble of a finished run."""

import argparse
import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from audiotagging.artifacts.calibration import calibrate
from audiotagging.artifacts.champion import champion_folder
from audiotagging.data.data_folder import AUDIO_SUFFIXES
from audiotagging.errors import UserError
from audiotagging.machine import threads
from audiotagging.progress import track
from audiotagging.results.thresholds import PROMISES
from audiotagging.tagging.tagger import Tagged, Tagger


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE_OR_DIR", help="sound files, or folders of them")
    parser.add_argument(
        "--models",
        required=True,
        type=Path,
        metavar="DIR",
        help="output of a run, its folder models, or a champions folder",
    )
    parser.add_argument("--top", type=int, default=5, metavar="N", help="number of tags per file (default: 5)")
    parser.add_argument(
        "--precision",
        type=float,
        choices=PROMISES,
        metavar="SHARE",
        help="print only tags of which this share (0.8, 0.9 or 0.95) is right on clips like those of training, with "
        "calibrated scores",
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="output format (default: table)")


def run(args: argparse.Namespace) -> int:
    """Print the tags of every file. For a file that cannot be read, print one line to the error output."""
    if args.top < 1:
        raise UserError(f"--top: expected a number of at least 1, found {args.top}")
    torch.set_num_threads(threads())
    tagger = Tagger(champion_folder(args.models) or args.models)
    choose = _best if args.precision is None else _promised(tagger, args.precision, args.models)
    unread = []

    def report(path: str, reason: str) -> None:
        print(f"{_in_one_line(path)}: {reason}", file=sys.stderr)
        unread.append(path)

    def readable(files: Iterable[Tagged]) -> Iterator[tuple[str, list[tuple[str, float]]]]:
        for file in files:
            if file.scores is None:
                report(_text(file.path), file.reason)
            else:
                tags = ((tagger.classes[number], score) for number, score in choose(file.scores))
                yield _text(file.path), list(islice(tags, args.top))

    paths = [path for given in args.files for path in _expand(given, report)]
    # On a terminal the results themselves show the progress.
    steps = paths if sys.stdout.isatty() else track(paths, label="tag", total=len(paths))
    FORMATS[args.format](readable(tagger.tag(steps)))
    return 1 if unread else 0


def _best(scores: np.ndarray) -> Iterator[tuple[int, float]]:
    """Yield all classes and their scores, best first."""
    for number in np.argsort(-scores, kind="stable"):
        yield int(number), float(scores[number])


def _promised(tagger: Tagger, precision: float, models: Path) -> Callable[[np.ndarray], Iterator[tuple[int, float]]]:
    """Return a function that yields the classes whose thresholds are reached, with their probabilities, best first."""
    averaging = tagger.averaging
    if averaging.calibration is None:
        raise UserError(
            f"--precision: expected an ensemble with calibrated scores, found uncalibrated ones in {models}; "
            "train with --folds 0,1,2,3,4, or omit --precision"
        )
    curves = [averaging.calibration.curves[label] for label in tagger.classes]
    found = averaging.lowest_scores(precision)
    missing = [label for label in tagger.classes if label not in found]
    if missing:
        print(
            f"no threshold promises a precision of {precision} for {len(missing)} of {len(tagger.classes)} classes, "
            f"which are never printed: {', '.join(map(_in_one_line, missing))}",
            file=sys.stderr,
        )
    lowest = np.array([found.get(label, np.inf) for label in tagger.classes])

    def choose(scores: np.ndarray) -> Iterator[tuple[int, float]]:
        (probabilities,) = calibrate(scores[None], curves)
        return (each for each in _best(probabilities) if scores[each[0]] >= lowest[each[0]])

    return choose


def _expand(path: Path, report: Callable[[str, str], None]) -> list[Path]:
    """Return the path of a file, or the paths of all sound files in a folder and its subfolders.

    Links to folders are not followed. Folders that cannot be read or have no sound files are reported.
    """
    if not os.path.isdir(path):  # noqa: PTH112 - `Path.is_dir` raises an error for a name that is too long
        return [path]
    problems: list[OSError] = []
    found = [
        Path(folder, name)
        for folder, _, names in os.walk(path, onerror=problems.append)
        for name in names
        if Path(name).suffix.lower() in AUDIO_SUFFIXES
    ]
    for error in problems:
        report(_text(error.filename), f"cannot be read: {error.strerror}")
    if not found and not problems:
        report(_text(path), "has no sound files")
    return sorted(found)


def _text(path: Path | str) -> str:
    r"""Return a path as text, with bytes that are not UTF-8 as in `\xff`."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _in_one_line(text: str) -> str:
    r"""Return text with control characters as in `\n`."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


Rows = Iterable[tuple[str, list[tuple[str, float]]]]


def _print_table(rows: Rows) -> None:
    for path, tags in rows:
        print(
            f"{_in_one_line(path)}\n" + "\n".join(f"  {score:.3f}  {_in_one_line(label)}" for label, score in tags),
            flush=True,
        )


def _print_csv(rows: Rows) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "rank", "label", "score"])
    for path, tags in rows:
        writer.writerows([path, rank, label, f"{score:.6g}"] for rank, (label, score) in enumerate(tags, 1))


def _print_json(rows: Rows) -> None:
    separator = "["
    for path, tags in rows:
        row = {"file": path, "tags": [{"label": label, "score": score} for label, score in tags]}
        print(separator, json.dumps(row), sep="\n", end="", flush=True)
        separator = ","
    print("[]" if separator == "[" else "\n]")


FORMATS = {"table": _print_table, "csv": _print_csv, "json": _print_json}
