"""What was trained on what, and with what: the facts that the report shows beside the scores."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audiotagging.artifacts.model_folder import ModelFacts, read_facts, read_history
from audiotagging.artifacts.noisy_clips import read_noisy_clips

FRAMES_PER_SECOND = 44_100 / 694  # of a spectrogram


@dataclass(frozen=True)
class TrainedModel:
    """What training wrote beside the weights.

    Attributes:
        facts: What was trained, on what, and with what.
        history: One row per epoch.
    """

    facts: ModelFacts
    history: pd.DataFrame


def read_models(folders: Sequence[Path]) -> list[TrainedModel]:
    """Read the facts of trained models, ordered by member and fold."""
    models = [TrainedModel(read_facts(folder), read_history(folder)) for folder in folders]
    return sorted(models, key=lambda model: (model.facts.member.id, model.facts.fold))


def summarise_training(models: Sequence[TrainedModel]) -> dict[str, dict[str, Any]]:
    """Return what each member is and what its training took, all of its folds together."""
    members: dict[str, list[ModelFacts]] = {}
    for model in models:
        members.setdefault(model.facts.member.id, []).append(model.facts)
    return {
        member: {
            "network": folds[0].member.network,
            "loss": folds[0].member.loss,
            "epochs": folds[0].member.epochs,
            "cycles": folds[0].member.cycles,
            "folds": [facts.fold for facts in folds],
            "seconds": sum(facts.seconds for facts in folds),
            "crops_per_second": float(np.mean([facts.crops_per_second for facts in folds])),
        }
        for member, folds in members.items()
    }


def summarise_selection(selection: Path) -> dict[str, Any]:
    """Return the noisy clips that were trained on, and whether a judge chose them by agreement."""
    table = read_noisy_clips(selection)
    return {"clips": list(table["fname"]), "by_agreement": "margin" in table}


def summarise_data(
    clips: pd.DataFrame, classes: Sequence[str], rejected: pd.DataFrame, notes: Sequence[str]
) -> dict[str, Any]:
    """Return the size of every part, how often each class occurs in it, and the clips that are left out.

    Args:
        clips: The table of clips of the spectrograms.
        classes: The classes.
        rejected: `clip`, `part` and `reason`, a row a clip that could not be used.
        notes: What was noted about the data set when it was checked, such as the clips left out.
    """
    parts = []
    for part, table in clips.groupby("part", observed=True, sort=False):
        labels = Counter(label for names in table["labels"] for label in names)
        parts.append(
            {
                "part": str(part),
                "clips": len(table),
                "seconds": float(table["frames"].sum() / FRAMES_PER_SECOND),
                "labelled": int((table["labels"].str.len() > 0).sum()),
                "labels": labels.total(),
                "clips_a_class": {label: labels[label] for label in classes},
            }
        )
    return {"classes": len(classes), "parts": parts, "rejected": rejected.to_dict("records"), "notes": list(notes)}


def summarise_run(models: Sequence[TrainedModel]) -> dict[str, Any]:
    """Return what the models were trained with, and a row a model."""
    facts = [model.facts for model in models]
    versions: dict[str, set[str]] = {}
    for model in facts:
        for name, version in model.versions.items():
            versions.setdefault(name, set()).add(version)
    return {
        "versions": {name: sorted(found) for name, found in sorted(versions.items())},
        "fingerprints": sorted({model.fingerprint for model in facts}),
        "seeds": sorted({model.seed for model in facts}),
        "devices": sorted({model.device for model in facts}),
        "models": [
            {"member": model.member.id, "fold": model.fold}
            | {key: getattr(model, key) for key in ("seed", "device", "seconds", "crops_per_second")}
            for model in facts
        ],
    }
