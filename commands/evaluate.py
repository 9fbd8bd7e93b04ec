"""Score a finished run again and write its report again, optionally with an earlier submission for comparison.

Examples:
    audiotagging evaluate OUT
    audiotagging evaluate OUT --baseline submission.csv
    audiotagging evaluate OUT --before OUT_BEFORE
"""

import argparse
from functools import partial
from pathlib import Path

from audiotagging.data.layouts.reading import Reading
from audiotagging.data.preprocessing import excerpts_of
from audiotagging.report.evaluate_again import evaluate_again
from commands.outputs import print_findings
from commands.reading import add_reading_options, reading_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("out", type=Path, metavar="OUT", help="output of a run; its scores and report are replaced")
    compared = parser.add_argument_group("what to compare with")
    compared.add_argument(
        "--baseline", type=Path, metavar="CSV", help="a submission for the same clips to compare with"
    )
    compared.add_argument(
        "--before", type=Path, metavar="OUT", help="the run before this one: what did corrected labels gain?"
    )
    parser.add_argument(
        "--audio", type=Path, metavar="DATA", help="the data folder of the run: adds players of its clips to the report"
    )

    add_reading_options(parser)


def run(args: argparse.Namespace) -> int:
    """Write `scores.json` and `report.html`, and print what the scores say and the path of the report."""
    figures = evaluate_again(
        args.out,
        baseline=args.baseline,
        before=args.before,
        excerpts_of=args.audio and partial(excerpts_of, args.audio, reading=Reading.from_dict(reading_of(args))),
    )
    print_findings(figures)
    print(f"\n{args.out / 'report.html'}")
    return 0
