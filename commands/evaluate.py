"""Score a finished run again and write its report again, optionally with an earlier submission for comparison.

Examples:
    audiotagging evaluate OUT
    audiotagging evaluate OUT --baseline submission.csv
"""

import argparse
from functools import partial
from pathlib import Path

from audiotagging.artifacts.model_folder import model_folders
from audiotagging.data.preprocessing import excerpts_of
from audiotagging.errors import UserError
from audiotagging.files import require
from audiotagging.json_file import read_json
from audiotagging.results.evaluation import evaluate
from audiotagging.results.scores_file import Facts
from commands.outputs import print_findings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("out", type=Path, metavar="OUT", help="output of a run; its scores and report are replaced")
    parser.add_argument("--baseline", type=Path, metavar="CSV", help="a submission for the same clips to compare with")
    parser.add_argument(
        "--audio", type=Path, metavar="DATA", help="the data folder of the run: adds players of its clips to the report"
    )


def run(args: argparse.Namespace) -> int:
    """Write `scores.json` and `report.html`, and print what the scores say and the path of the report."""
    report, scores = args.out / "report.html", args.out / "scores.json"
    needed = ("scores.json", "predictions.parquet", "ensemble.json", "spectrograms", "selection", "models")
    require(args.out, *needed, what="the output of a run")
    models = model_folders(args.out / "models")
    if not models:
        raise UserError(f"{args.out / 'models'}: expected one folder per trained model, found none; name another run")
    earlier = read_json(scores, Facts)
    figures = evaluate(
        args.out,
        models=models,
        spectrograms=args.out / "spectrograms",
        report=report,
        scores=scores,
        audit=args.out,
        selection=args.out / "selection",
        promotion=earlier.get("promotion"),
        origin=earlier.get("origin"),
        baseline=args.baseline,
        excerpts_of=args.audio and partial(excerpts_of, args.audio),
    )
    print_findings(figures)
    print(f"\n{report}")
    return 0
