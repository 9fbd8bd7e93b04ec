"""The facts about training that the report shows: the models, their data, and the versions that trained them."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audiotagging.artifacts.model_folder import ModelMetadata, read_history, read_metadata
from audiotagging.artifacts.selection import read_noisy_clips
from audiotagging.artifacts.verified import Verified
from audiotagging.base.errors import UserError
from audiotagging.base.machine import Meter, add_up

FRAMES_PER_SECOND = 44_100 / 694  # frames of a spectrogram: the sampling rate divided by the hop length


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a run came from, and what it cost up to its last stage.

    Attributes:
        command: The command line that started it.
        costs: What each stage cost, in the order of the stages (`audiotagging.base.machine`).
        meter: What the last stage has cost so far.
    """

    command: str
    costs: Mapping[str, Mapping[str, Any]]
    meter: Meter


@dataclass(frozen=True)
class TrainedModel:
    """What training recorded about a model.

    Attributes:
        facts: The member, its data and the versions that trained it.
        history: The learning curve, one row per epoch.
    """

    facts: ModelMetadata
    history: pd.DataFrame


def read_models(folders: Sequence[Path], *, members: Collection[str], classes: Sequence[str]) -> list[TrainedModel]:
    """Read the facts of the trained models of an ensemble, ordered by member and fold.

    Args:
        folders: The folders of the models.
        members: Ids of the members of the ensemble.
        classes: The classes of the ensemble.

    Raises:
        UserError: If a folder is corrupt, or if the models are not those of the ensemble.
    """
    models = [TrainedModel(read_metadata(folder), read_history(folder)) for folder in folders]
    for folder, model in zip(folders, models, strict=True):
        if model.facts.classes != list(classes) or model.facts.member.id not in members:
            raise UserError(
                f"{folder}: expected a model of {', '.join(members)} with the {len(classes)} classes of the ensemble, "
                f"found a model of {model.facts.member.id} with {len(model.facts.classes)} classes; restore the models "
                "of that run"
            )
    if missing := sorted(set(members) - {model.facts.member.id for model in models}):
        raise UserError(f"expected models of {', '.join(members)}, found none of {missing[0]}; restore it")
    return sorted(models, key=lambda model: (model.facts.member.id, model.facts.fold))


def summarise_training(models: Sequence[TrainedModel]) -> dict[str, dict[str, Any]]:
    """Return each member's settings and the cost of its training, over all of its folds."""
    members: dict[str, list[ModelMetadata]] = {}
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


def summarise_selection(selection: Path, clips: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Return the noisy clips used for training, and whether a linear model agrees with their labels.

    Args:
        selection: The folder of the selection.
        clips: The table of clips that belongs to the spectrograms.
        classes: The classes.

    Returns:
        `clips`, `by_agreement`; and for each label of a noisy clip, `taken` and `left` (how many of its noisy clips
        were used, and how many were not).
    """
    table = read_noisy_clips(selection, clips)
    noisy = clips[clips["part"] == "noisy"]
    used = noisy["clip"].isin(table["fname"])
    taken, left = (Counter(noisy["labels"][chosen].explode()) for chosen in (used, ~used))
    labels = [label for label in classes if taken[label] + left[label]]
    return {
        "clips": list(table["fname"]),
        "by_agreement": "margin" in table,
        "taken": {label: taken[label] for label in labels},
        "left": {label: left[label] for label in labels},
    }


def summarise_data(
    clips: pd.DataFrame,
    classes: Sequence[str],
    rejected: pd.DataFrame,
    notes: Sequence[str],
    verified: Verified | None,
) -> dict[str, Any]:
    """Return the size of every part of the data, how often each class occurs in it, the rejected clips and the check.

    Args:
        clips: The table of clips that belongs to the spectrograms.
        classes: The classes.
        rejected: One row per clip that could not be used: `clip`, `part` and `reason`.
        notes: The notes from checking the data set, such as which clips were left out.
        verified: The check of the spectrograms against librosa, if there was one.
    """
    parts = []
    for part, table in clips[clips["part"] != "disturbance"].groupby("part", sort=False):
        labels = Counter(label for names in table["labels"] for label in names)
        parts.append(
            {
                "part": str(part),
                "clips": len(table),
                "seconds": float(table["seconds"].sum()),
                "labelled": int((table["labels"].str.len() > 0).sum()),
                "labels": labels.total(),
                "clips_per_class": {label: labels[label] for label in classes},
            }
        )
    return {
        "classes": len(classes),
        "parts": parts,
        "rejected": rejected.to_dict("records"),
        "notes": list(notes),
        "verified": verified and asdict(verified),
    }


def summarise_origin(origin: Origin, models: Sequence[TrainedModel]) -> dict[str, Any]:
    """Return the command line of a run, when it ran, and what it cost as a whole and by stage.

    Returns:
        `command`, `started` (of `ingest`, which every run does) and `finished` (UTC, ISO 8601), `seconds` (between
        them), `cpu_seconds`, `gpu_seconds` (of training), `peak_bytes`, and `stages`: the cost of each stage. A stage
        whose output came from a cache has the cost of the run that made it.
    """
    costs = dict(origin.costs) | {"evaluate": origin.meter.cost()}
    stages = [{"stage": stage} | add_up([cost]) for stage, cost in costs.items()]
    started, finished = datetime.fromisoformat(costs["ingest"]["started"]), datetime.now(UTC).replace(microsecond=0)
    return {
        "command": origin.command,
        "started": started.isoformat(),
        "finished": finished.isoformat(),
        "seconds": (finished - started).total_seconds(),
        "cpu_seconds": sum(stage["cpu_seconds"] for stage in stages),
        "gpu_seconds": sum(model.facts.seconds for model in models if model.facts.on_gpu),
        "peak_bytes": max(stage["peak_bytes"] for stage in stages),
        "stages": stages,
    }


def summarise_run(models: Sequence[TrainedModel]) -> dict[str, Any]:
    """Return the versions, fingerprints, seeds and devices of the models, and one row per model."""
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
            | (
                {"start": {key: getattr(model.start, key) for key in ("source", "taken", "tensors")}}
                if model.start
                else {}
            )
            for model in facts
        ],
    }
