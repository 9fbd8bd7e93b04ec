"""Score a finished run again and write its report again, optionally with an earlier submission for comparison.

Examples:
    audiotagging evaluate OUT
    audiotagging evaluate OUT --baseline submission.csv
    audiotagging evaluate OUT --before OUT_BEFORE
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from audiotagging.artifacts.champions_folder import Promotion
from audiotagging.artifacts.model_folder import model_folders
from audiotagging.base.errors import UserError
from audiotagging.base.files import check_target, require
from audiotagging.base.removal import remove_leftovers
from audiotagging.base.typed_json import read_json
from audiotagging.data.layouts.reading import Reading
from audiotagging.data.preprocessing import excerpts_of
from audiotagging.evaluation.mistakes import SUSPICIOUS_FILE
from audiotagging.evaluation.scores import StoredScores
from audiotagging.report.audit_page import AUDIT_PAGE
from audiotagging.report.evaluate import evaluate
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
    if args.before and "before" not in figures:
        raise UserError(f"{args.before}: expected a run with the same classes and labelled clips, found another one")
    print_findings(figures)
    print(f"\n{args.out / 'report.html'}")
    return 0


def evaluate_again(out: Path, *, before: Path | None = None, **options: Any) -> dict[str, Any]:
    """Write `scores.json`, `report.html` and the audit of a run again.

    Args:
        out: The output of the run.
        before: The output of the run before, to compare with. By default, an earlier comparison is kept.
        options: Further options of `audiotagging.report.evaluate.evaluate`.

    Returns:
        The scores.

    Raises:
        UserError: If the folder is not the output of a run, or as `evaluate` raises it.
    """
    needed = ("scores.json", "predictions.parquet", "ensemble.json", "spectrograms", "selection", "models")
    require(out, *needed, what="the output of a run")
    models = model_folders(out / "models")
    if not models:
        raise UserError(f"{out / 'models'}: expected one folder per trained model, found none; name another run")
    for name in ("scores.json", "report.html", AUDIT_PAGE, SUSPICIOUS_FILE):
        check_target(out / name)
    remove_leftovers(out, marker="scores.json")
    earlier = read_json(out / "scores.json", StoredScores)
    return evaluate(
        out,
        models=models,
        spectrograms=out / "spectrograms",
        report=out / "report.html",
        scores=out / "scores.json",
        audit=out,
        selection=out / "selection",
        before=before or earlier.get("before"),
        promotion=_promotion(earlier),
        origin=earlier.get("origin"),
        **options,
    )


def _promotion(earlier: StoredScores) -> Promotion | None:
    if "promotion" not in earlier:
        return None
    return Promotion(decision=earlier["promotion"], history=earlier.get("champions", []))
