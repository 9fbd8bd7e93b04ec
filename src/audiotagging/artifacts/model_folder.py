"""The folder of a trained model: one member, trained with one fold held out.

    weights.safetensors   the network's weights
    member.json           what was trained, on what, and with what (`ModelFacts`)
    history.parquet       one row per epoch

Everything but the weights is read without torch.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_origin

import pandas as pd

from audiotagging.errors import UserError
from audiotagging.files import read_json, whole_folder, write_json
from audiotagging.members import Member

WEIGHTS = "weights.safetensors"
FACTS = "member.json"
HISTORY = "history.parquet"


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What was trained, on what, and with what: the content of `member.json`.

    Attributes:
        member: The member.
        fold: The fold that was held out, -1: none.
        seed: Seed of the run.
        classes: The classes, in the order of the scores.
        fingerprint: Fingerprint of the data.
        versions: Versions of Python, of torch and of the code that decides weights, by name.
        seconds: Seconds spent in training steps.
        crops_per_second: Crops trained on in a second.
        device: Name of the device.
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
    def name(self) -> str:
        """What the model is called in folders and files."""
        return model_name(self.member.id, self.fold)


def model_name(member_id: str, fold: float) -> str:
    """Return what a member's model of a fold is called in folders and files, such as `xresnet50-bce-fold-1`."""
    return f"{member_id}-fold{int(fold)}"


def write_model(
    folder: Path, *, facts: ModelFacts, history: pd.DataFrame, write_weights: Callable[[Path], None]
) -> None:
    """Write the folder of a model, which appears when it is complete.

    Args:
        folder: The folder to make.
        facts: What was trained.
        history: One row per epoch: `epoch`, `cycle`, `loss`, `lr`, `lwlrap` and `seconds`.
        write_weights: Writes the weights to the path that it is given, in the format of safetensors.
    """
    with whole_folder(folder) as part:
        write_weights(part / WEIGHTS)
        write_json(part / FACTS, asdict(facts))
        history.to_parquet(part / HISTORY, index=False)


def model_folders(parent: Path) -> list[Path]:
    """Return the folders of the models in a folder, in the order of their names."""
    return sorted(path.parent for path in parent.glob(f"*/{FACTS}"))


def weights_path(folder: Path) -> Path:
    """Return the path of a model's weights."""
    return folder / WEIGHTS


def read_facts(folder: Path) -> ModelFacts:
    """Return what was trained, on what, and with what.

    Raises:
        UserError: If the folder is not that of a model, or its `member.json` is damaged.
    """
    path = folder / FACTS
    if not path.is_file():
        raise UserError(f"{folder}: expected the folder of a trained model, found no {FACTS} in it")
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
    """Return one row per epoch: `epoch` and `cycle` from 1, `loss`, `lr`, `lwlrap` (NaN: not validated) and `seconds`.

    Raises:
        UserError: If it is missing or damaged.
    """
    path = folder / HISTORY
    try:
        return pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: expected a table, found {str(error).splitlines()[0]}; copy it again") from error


def _shown(value: Any) -> str:
    return json.dumps(value)[:80]
