"""The folder of a trained model: one member, trained with one fold held out.

    weights.safetensors   the network's weights
    member.json           the facts about its training (`ModelFacts`)
    history.parquet       one row per epoch

This module reads everything but the weights, and needs no torch.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_origin

import pandas as pd

from audiotagging.errors import UserError
from audiotagging.files import atomic_folder, read_json, write_json
from audiotagging.members import Member

WEIGHTS = "weights.safetensors"
FACTS = "member.json"
HISTORY = "history.parquet"


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """The facts about the training of a model: the content of `member.json`.

    Attributes:
        member: The member.
        fold: The fold that was held out, or -1 for none.
        seed: Seed of the run.
        classes: The classes, in the order of the scores.
        fingerprint: Fingerprint of the data.
        versions: Versions of Python, torch and the code that determines the weights, by name.
        seconds: Seconds spent on training steps.
        crops_per_second: Crops per second of training.
        device: Name of the device. That of a CPU ends with the number of threads.
    """

    member: Member
    fold: int
    seed: int
    classes: list[str]
    fingerprint: str
    versions: dict[str, str]
    seconds: float
    crops_per_second: float
    device: str

    @property
    def on_gpu(self) -> bool:
        """Whether it was trained on a GPU."""
        return not self.device.endswith(" threads")

    @property
    def name(self) -> str:
        """Name of the model in folders and files."""
        return model_name(self.member.id, self.fold)


def model_name(member_id: str, fold: float) -> str:
    """Return the name of a model in folders and files.

    Examples:
        >>> model_name("xresnet50-bce", 0)
        'xresnet50-bce-fold0'
    """
    return f"{member_id}-fold{int(fold)}"


def write_model(
    folder: Path, *, facts: ModelFacts, history: pd.DataFrame, write_weights: Callable[[Path], None]
) -> None:
    """Write the folder of a model. It appears only when it is complete.

    Args:
        folder: The folder to create.
        facts: The facts about the training.
        history: One row per epoch: `epoch`, `cycle`, `loss`, `lr`, `lwlrap` and `seconds`.
        write_weights: A function that writes the weights to a path in the safetensors format.
    """
    with atomic_folder(folder) as partial:
        write_weights(partial / WEIGHTS)
        write_json(partial / FACTS, asdict(facts))
        history.to_parquet(partial / HISTORY, index=False)


def model_folders(parent: Path) -> list[Path]:
    """Return the folders of all models in a folder, sorted by name."""
    return sorted(path.parent for path in parent.glob(f"*/{FACTS}"))


def weights_path(folder: Path) -> Path:
    """Return the path of a model's weights."""
    return folder / WEIGHTS


def read_facts(folder: Path) -> ModelFacts:
    """Read the facts about the training of a model.

    Raises:
        UserError: If the folder is not that of a model, or if its `member.json` is corrupt.
    """
    path = folder / FACTS
    if not path.is_file():
        raise UserError(f"{folder}: expected the folder of a trained model, found no {FACTS} in it; name another")
    names = [field.name for field in fields(ModelFacts)]
    content = read_json(path, *names)
    try:
        facts = ModelFacts(**{name: content[name] for name in names} | {"member": Member.from_row(content["member"])})
    except UserError as error:
        raise UserError(f"{path}: {error}; copy it again") from error
    for field in fields(ModelFacts):
        kind = get_origin(field.type) or field.type
        value = getattr(facts, field.name)
        if not isinstance(value, (float, int) if kind is float else kind):  # type: ignore[arg-type]
            expected = kind.__name__  # type: ignore[union-attr]
            raise UserError(f"{path}: expected {field.name} of type {expected}, found {_shown(value)}; copy it again")
    return facts


def read_history(folder: Path) -> pd.DataFrame:
    """Read the learning curve of a model.

    Returns:
        One row per epoch: `epoch` and `cycle` (starting at 1), `loss`, `lr`, `lwlrap` (NaN if the epoch was not
        validated) and `seconds`.

    Raises:
        UserError: If the file is missing or corrupt.
    """
    path = folder / HISTORY
    try:
        return pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: expected a table, found {str(error).splitlines()[0]}; copy it again") from error


def final_metrics(folder: Path) -> dict[str, float]:
    """Return `loss` and `lwlrap` of the last epoch, those that are finite: a model of all clips has no lwlrap."""
    last = read_history(folder).iloc[-1]
    return {name: float(last[name]) for name in ("loss", "lwlrap") if math.isfinite(last[name])}


def _shown(value: Any) -> str:
    return json.dumps(value)[:80]
