"""Score a finished run again and renew its report, also against an earlier submission."""

import argparse
from pathlib import Path

from audiotagging.evaluation import evaluate
from audiotagging.files import read_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("out", type=Path, metavar="OUT", help="output of a run; its scores and report are replaced")
    parser.add_argument("--baseline", type=Path, metavar="CSV", help="a submission of the same clips to compare with")


def run(args: argparse.Namespace) -> int:
    """Write `scores.json` and `report.html`, and print where the report is."""
    report, scores = args.out / "report.html", args.out / "scores.json"
    if not scores.exists():
        raise ValueError(f"{args.out}: expected the output of a run, found no scores.json in it")
    evaluate(
        args.out,
        models=sorted((args.out / "models").iterdir()),
        spectrograms=args.out / "spectrograms",
        report=report,
        scores=scores,
        selection=args.out / "selection",
        promotion=read_json(scores).get("promotion"),
        baseline=args.baseline,
    )
    print(report)
    return 0
