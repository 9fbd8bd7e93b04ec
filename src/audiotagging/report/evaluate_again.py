"""Scores a finished run again, and writes its report again."""

from pathlib import Path
from typing import Any

from audiotagging.artifacts.champions_folder import Promotion
from audiotagging.artifacts.model_folder import model_folders
from audiotagging.base.errors import UserError
from audiotagging.base.files import check_target, require
from audiotagging.base.removal import remove_leftovers
from audiotagging.base.typed_json import read_json
from audiotagging.evaluation.mistakes import SUSPICIOUS_FILE
from audiotagging.evaluation.scores import StoredScores
from audiotagging.report.audit_page import AUDIT_PAGE
from audiotagging.report.evaluate import evaluate


def evaluate_again(out: Path, *, before: Path | None = None, **options: Any) -> dict[str, Any]:
    """Write `scores.json`, `report.html` and the audit of a run again.

    Args:
        out: The output of the run.
        before: The output of the run before, to compare with. By default, an earlier comparison is kept.
        options: Further options of `audiotagging.report.evaluate.evaluate`.

    Returns:
        The scores.

    Raises:
        UserError: If the folder is not the output of a run, if the run before has other classes or labelled clips, or
            as `evaluate` raises it.
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
    figures = evaluate(
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
    if before and "before" not in figures:
        raise UserError(f"{before}: expected a run with the same classes and labelled clips, found another one")
    return figures


def _promotion(earlier: StoredScores) -> Promotion | None:
    if "promotion" not in earlier:
        return None
    return Promotion(decision=earlier["promotion"], history=earlier.get("champions", []))
