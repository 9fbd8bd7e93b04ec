"""How good the ensemble is: scores, their intervals, and the report."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audiotagging import report as html
from audiotagging.ensembling import ENSEMBLE, gather, label_table
from audiotagging.metrics import label_precisions
from audiotagging.shards import read_clips
from audiotagging.tables import Predictions, read_predictions


@dataclass(frozen=True)
class ScoredSet:
    """Labelled clips, and how well each system ranks their labels.

    Attributes:
        systems: The ensemble, then its members.
        clips: Names of the clips.
        truth: Whether the clip has the label, bool, shape (clips, classes).
        scores: float32, shape (systems, clips, classes).
        precisions: The precision at every true label's rank, shape (systems, clips, classes).
    """

    systems: list[str]
    clips: list[str]
    truth: np.ndarray
    scores: np.ndarray
    precisions: np.ndarray

    def lwlrap(self) -> dict[str, float]:
        """Return the lwlrap of every system."""
        return dict(zip(self.systems, (self.precisions.sum(axis=(1, 2)) / self.truth.sum()).tolist(), strict=True))


def scored_sets(predictions: Predictions, clips: pd.DataFrame) -> dict[str, ScoredSet]:
    """Return the sets of clips that can be scored: "all", "public" and "private" test clips and "out_of_fold".

    Args:
        predictions: The ensemble's prediction table.
        clips: The table of clips of the spectrograms.
    """
    labelled = clips[clips["labels"].str.len() > 0].set_index("clip")
    test = labelled[labelled["part"] == "test"]
    chosen = {
        "all": ("test", test),
        "public": ("test", test[test["usage"] == "Public"]),
        "private": ("test", test[test["usage"] == "Private"]),
        "out_of_fold": ("validation", labelled[labelled["part"] == "curated"]),
    }
    gathered = {part: gather(predictions, part=part) for part in ("validation", "test")}
    sets = {}
    for name, (part, table) in chosen.items():
        everything = gathered[part]
        keep = np.flatnonzero(pd.Index(everything.clips).isin(table.index))
        if len(keep):
            names = [everything.clips[clip] for clip in keep]
            truth = label_table(table.loc[names, "labels"].tolist(), everything.classes)
            scores = everything.scores[:, keep]
            precisions = np.stack([label_precisions(truth, system) for system in scores])
            sets[name] = ScoredSet(everything.members, names, truth, scores, precisions)
    return sets


def evaluate(
    ensemble: Path, *, models: Sequence[Path], spectrograms: Path, report: Path, scores: Path
) -> dict[str, Any]:
    """Score the ensemble and its members, and write the scores and the report.

    Args:
        ensemble: The folder that `audiotagging.ensembling.ensemble` wrote.
        models: Folders of the trained models.
        spectrograms: The folder of shards that they were predicted from.
        report: The HTML file to write.
        scores: The JSON file to write.

    Returns:
        What is written to `scores`: {"ensemble": {"all", "public", "private", "out_of_fold"}, "members": {id: the
        same}}, without what there is nothing to score.
    """
    sets = scored_sets(read_predictions(ensemble / "predictions.parquet"), read_clips(spectrograms))
    by_system: dict[str, dict[str, float]] = {}
    for name, scored in sets.items():
        for system, score in scored.lwlrap().items():
            by_system.setdefault(system, {})[name] = score
    result = {"ensemble": by_system.pop(ENSEMBLE, {}), "members": by_system}
    _write(scores, json.dumps(result, indent=2) + "\n")
    _write(report, html.render(result))
    return result


def _write(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
