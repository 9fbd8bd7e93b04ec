"""The folder of a trained model: one member, trained with one fold held out.

    weights.safetensors   the network's weights
    member.json           the facts about its training (`ModelMetadata`), with a digest of the weights
    history.parquet       one row per epoch

A key that an earlier version did not write has a default. This module reads everything but the weights, and needs no
torch.
"""

import logging
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa

from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_folder, sha256
from audiotagging.base.tables import check_columns, corrupt_table, read_parquet, write_parquet
from audiotagging.base.typed_json import read_json, write_json
from audiotagging.members import Member

WEIGHTS = "weights.safetensors"
FACTS = "member.json"
HISTORY = "history.parquet"
HISTORY_SCHEMA = pa.schema(
    [
        pa.field("epoch", pa.int64(), nullable=False),
        pa.field("cycle", pa.int64(), nullable=False),
        pa.field("loss", pa.float64(), nullable=False),
        pa.field("lr", pa.float64(), nullable=False),
        pa.field("lwlrap", pa.float64()),  # empty where an epoch was not validated
        pa.field("seconds", pa.float64(), nullable=False),
    ]
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Start:
    """The weights that a training started with.

    Attributes:
        source: The file or the folder of the model.
        sha256: SHA-256 digest of the weights, in hexadecimal digits.
        taken: Number of tensors of the network that were taken.
        tensors: Number of tensors of the network.
        new: The others, each with the reason.
    """

    source: str
    sha256: str
    taken: int
    tensors: int
    new: list[str]


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
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
        sha256: SHA-256 digest of the weights, in hexadecimal digits. None if an earlier version trained the model.
        start: The weights that the training started with. None for new weights.
        targets: SHA-256 digest of the scores that it learned instead of labels. None if it learned labels.
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
    sha256: str | None = None
    start: Start | None = None
    targets: str | None = None

    def __post_init__(self) -> None:
        """Check the classes and the fold."""
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise UserError(f"expected classes that differ, found {', '.join(self.classes)[:80] or 'none'}")
        if not -1 <= self.fold < 128:  # prediction tables store it in 8 bits
            raise UserError(f"expected a fold from -1 to 127, found {self.fold}")

    @property
    def on_gpu(self) -> bool:
        """Whether it was trained on a GPU."""
        return not self.device.endswith((" thread", " threads"))

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


def write_model(folder: Path, *, facts: ModelMetadata, history: pd.DataFrame, weights: bytes) -> None:
    """Write the folder of a model. It appears only when it is complete.

    Args:
        folder: The folder to create.
        facts: The facts about the training. The digest of the weights is added.
        history: One row per epoch: `epoch`, `cycle`, `loss`, `lr`, `lwlrap` and `seconds`.
        weights: The weights in the safetensors format.
    """
    with atomic_folder(folder) as partial:
        (partial / WEIGHTS).write_bytes(weights)
        write_json(partial / FACTS, asdict(replace(facts, sha256=sha256(partial / WEIGHTS))))
        write_parquet(partial / HISTORY, pa.Table.from_pandas(history, HISTORY_SCHEMA, preserve_index=False))


def models_folder(run: Path) -> Path:
    """Return the folder of the models of a run, of which the output folder or this folder itself is given."""
    return run / "models" if (run / "models").is_dir() else run


def model_folders(parent: Path) -> list[Path]:
    """Return the folders of all models in a folder, sorted by name. They may be incomplete.

    Raises:
        OSError: If the folder or one in it cannot be read.
    """
    folders = [path for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []
    return sorted(path for path in folders if {FACTS, WEIGHTS, HISTORY} & {file.name for file in path.iterdir()})


def weights_path(folder: Path) -> Path:
    """Return the path of a model's weights."""
    return folder / WEIGHTS


def read_metadata(folder: Path) -> ModelMetadata:
    """Read the facts about the training of a model.

    Raises:
        UserError: If the folder is not that of a model, or if its `member.json` is corrupt.
    """
    path = folder / FACTS
    if not path.is_file():
        raise UserError(f"{folder}: expected the folder of a trained model, found no {FACTS} in it; name another")
    return read_json(path, ModelMetadata)


def check_weights(folder: Path) -> None:
    """Check that the weights of a model are those that training wrote.

    Raises:
        UserError: If they are not. The weights of a model that an earlier version trained cannot be checked.
    """
    expected, path = read_metadata(folder).sha256, folder / WEIGHTS
    if expected is None:
        logger.debug("%s: an earlier version wrote this model, without the digest of its weights", folder)
    elif sha256(path) != expected:
        raise UserError(
            f"{path}: expected the weights that {FACTS} describes, found others, whose SHA-256 digest is not "
            f"{expected[:16]}...; copy the folder of the model again"
        )


def read_history(folder: Path) -> pd.DataFrame:
    """Read the learning curve of a model.

    Returns:
        One row per epoch: `epoch` and `cycle` (starting at 1), `loss`, `lr`, `lwlrap` (NaN if the epoch was not
        validated) and `seconds`.

    Raises:
        UserError: If the file is missing or corrupt.
    """
    path = folder / HISTORY
    table = read_parquet(path)
    check_columns(path, table, HISTORY_SCHEMA)
    history = table.replace_schema_metadata().to_pandas()  # metadata of pandas may be corrupt, and are not needed
    if not len(history) or list(history["epoch"]) != list(range(1, len(history) + 1)):
        raise corrupt_table(path, "it does not have one row per epoch")
    if not history["lwlrap"].dropna().between(0, 1).all():
        raise corrupt_table(path, "an lwlrap is not from 0 to 1")
    return history


def final_metrics(folder: Path) -> dict[str, float]:
    """Return `loss` and `lwlrap` of the last epoch, those that are finite: a model of all clips has no lwlrap."""
    last = read_history(folder).iloc[-1]
    return {name: float(last[name]) for name in ("loss", "lwlrap") if math.isfinite(last[name])}
