"""The members of the ensemble: their networks, losses and training settings.

`REFERENCE` is the published recipe (6th place of Freesound Audio Tagging 2019). `DEMO` has the same six members at a
size that two cores train in minutes. This module uses only the standard library, because the pipeline imports it on
machines without torch and numpy.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from audiotagging.base.errors import UserError
from audiotagging.base.typed_json import convert

NETWORKS = ("xresnet18ssa", "xresnet34ssa", "xresnet34", "xresnet50")  # keys of training.networks.NETWORKS
LINEAR = "linear"  # a linear model of spectrogram statistics in place of a network (training.linear_model)
LOSSES = ("focal", "bce")  # keys of training.losses.LOSSES
ID = re.compile(r"[\w.-]{1,100}")
CHOICES = {"network": (*NETWORKS, LINEAR), "loss": LOSSES}

# The smallest and the largest value of each number, both included. Batch norm needs batches of 2, and pictures of 32
# pixels are the smallest of which something is left before the last halving: without, a gradient of oneDNN in bfloat16
# was not finite in some runs. The largest values are far above useful ones, and keep mistakes from ending in hours of
# work or in more memory than there is.
RANGES: dict[str, tuple[float, float]] = {
    "epochs": (1, 10_000),
    "cycles": (1, 100),
    "frames": (1, 4096),
    "size": (32, 1024),
    "batch_size": (2, 1024),
    "epoch_size": (1, 100_000),
    "lr": (1e-9, 1),
    "f2cl": (1e-9, 1e9),
    "mixup": (0, 1),
    "validate_every": (1, 10_000),
    "overlap": (0, 0.99),
    "freeze_epochs": (0, 10_000),
}


@dataclass(frozen=True, kw_only=True)
class Member:
    """One member of the ensemble. The defaults of its fields are the published values.

    A value that is not in `CHOICES` or `RANGES` raises a `UserError`.

    Attributes:
        id: Unique name, used in file names: letters, digits, dots, dashes and underscores.
        network: The architecture: an xresnet with this many layers; "ssa" has self-attention and a small head. "linear"
            is a linear model of spectrogram statistics, to which the other fields do not matter.
        loss: Focal loss or binary cross-entropy.
        epochs: Number of epochs of a cycle.
        cycles: Number of consecutive one-cycle schedules. Each continues with the weights and optimiser state of the
            previous one.
        frames: Number of frames of a training crop and of a prediction window (base_dim in the original). A second
            has 63.5 frames.
        size: Height and width of the resized crops in pixels (SZ in the original).
        batch_size: Number of crops in a batch (BS in the original).
        epoch_size: Number of batches in an epoch.
        lr: Peak learning rate of the one-cycle schedule.
        f2cl: Only crops whose F2 score is below this value count towards the loss.
        mixup: Probability that a crop is mixed with another one.
        validate_every: Number of epochs between validations. The last epoch is always validated.
        overlap: Share of a prediction window that the next window covers too.
        tail: Whether a last window ends with the clip. The original ignored up to `frames` frames at the end.
        freeze_epochs: Number of epochs at the start in which the body keeps the weights of `--init` or `--warm-start`,
            except those of batch norm. New weights are not frozen.
    """

    id: str
    network: str
    loss: str
    epochs: int
    cycles: int = 1
    frames: int = 128
    size: int = 256
    batch_size: int = 64
    epoch_size: int = 1000
    lr: float = 0.01
    f2cl: float = 1.0
    mixup: float = 1.0
    validate_every: int = 10
    overlap: float = 0.0
    tail: bool = True
    freeze_epochs: int = 0

    def __post_init__(self) -> None:
        """Check that all fields are in range."""
        for name, value in asdict(self).items():
            if name in CHOICES:
                right, expected = value in CHOICES[name], f"one of {', '.join(CHOICES[name])}"
            elif name in RANGES:
                low, high = RANGES[name]
                right, expected = low <= value <= high, f"a number from {low:,g} to {high:,g}"
            elif name == "id":
                right, expected = bool(ID.fullmatch(value)), "letters, digits, dots, dashes and underscores"
            else:
                continue
            if not right:
                raise UserError(f"member {self.id}: expected {name} to be {expected}, found {value}")

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Member":
        """Create a member from a row of `rows`.

        KFP may have turned integers into floats; they become integers again. A field that is missing, because an
        earlier version wrote the row, gets its default.

        Raises:
            UserError: If the row does not have the fields of a member.
        """
        member: Member = convert(row, cls)
        return member


REFERENCE = (
    Member(id="xresnet18ssa-focal", network="xresnet18ssa", loss="focal", epochs=80),
    Member(id="xresnet34ssa-focal", network="xresnet34ssa", loss="focal", epochs=60),
    Member(id="xresnet18ssa-bce", network="xresnet18ssa", loss="bce", epochs=80),
    Member(id="xresnet34ssa-bce", network="xresnet34ssa", loss="bce", epochs=60),
    Member(id="xresnet34-focal", network="xresnet34", loss="focal", epochs=90),
    Member(id="xresnet50-bce", network="xresnet50", loss="bce", epochs=65, cycles=2),
)

# Every demo member trains until it is about as good as the others, because one that is much better than the rest would
# be better than their mean too. The networks with a large head need more batches and a higher learning rate, because
# their bodies train at a tenth of it.
_DEMO_EPOCHS_AND_LR = {
    "xresnet18ssa-focal": (6, 0.006),
    "xresnet34ssa-focal": (5, 0.006),
    "xresnet18ssa-bce": (5, 0.006),
    "xresnet34ssa-bce": (4, 0.006),
    "xresnet34-focal": (12, 0.02),
    "xresnet50-bce": (5, 0.02),
}

DEMO = tuple(
    replace(member, id=f"demo-{member.id}", epochs=epochs, lr=lr, size=48, batch_size=32, epoch_size=25)
    for member in REFERENCE
    for epochs, lr in [_DEMO_EPOCHS_AND_LR[member.id]]
)

LINEAR_MEMBER = Member(id=LINEAR, network=LINEAR, loss="bce", epochs=1, size=32, batch_size=32, epoch_size=1)

SETTABLE = tuple(field.name for field in fields(Member) if field.name != "id")

ENSEMBLES = {"reference": REFERENCE, "demo": DEMO}


def select(names: Sequence[str]) -> list[Member]:
    """Look up members by name. Duplicates are removed, and the order is kept.

    Args:
        names: Names of ensembles ("demo", "reference") or ids of members.

    Raises:
        UserError: If a name is neither an ensemble nor a member.

    Examples:
        >>> len(select(["reference"]))
        6
        >>> [member.network for member in select(["xresnet50-bce", "xresnet34-focal"])]
        ['xresnet50', 'xresnet34']
    """
    by_id = {member.id: member for ensemble in [*ENSEMBLES.values(), [LINEAR_MEMBER]] for member in ensemble}
    chosen: dict[str, Member] = {}
    for name in names:
        if name not in ENSEMBLES and name not in by_id:
            raise UserError(f"expected ensembles or members out of {', '.join([*ENSEMBLES, *by_id])}, found {name!r}")
        chosen |= {member.id: member for member in ENSEMBLES.get(name) or [by_id[name]]}
    return list(chosen.values())


def override(members: Sequence[Member], changes: Mapping[str, str]) -> list[Member]:
    """Return copies of the members with some fields changed.

    Args:
        members: The members to change.
        changes: New values by field, as text.

    Raises:
        UserError: If a field does not exist, or if a text is not a valid value for its field.

    Examples:
        >>> [member] = override(select(["xresnet50-bce"]), {"epochs": "10", "tail": "false"})
        >>> member.epochs, member.tail
        (10, False)
    """
    types = {field.name: field.type for field in fields(Member) if field.name in SETTABLE}
    values: dict[str, Any] = {}
    for name, text in changes.items():
        if name not in types:
            raise UserError(f"expected fields of a member out of {', '.join(types)}, found {name!r}")
        try:
            values[name] = _parse(types[name], text)
        except (ValueError, KeyError):
            raise UserError(f"expected {name} to be of type {types[name].__name__}, found {text!r}") from None  # type: ignore[union-attr]
    return [replace(member, **values) for member in members]


def _parse(kind: Any, text: str) -> Any:
    return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)


def rows(members: Sequence[Member], folds: Sequence[int]) -> list[dict[str, Any]]:
    """Return the rows of the pipeline's parallel loop: one flat dictionary per member and fold.

    Args:
        members: The members to train.
        folds: The folds to hold out. -1 holds out nothing and trains on everything.

    Examples:
        >>> [(row["id"], row["fold"]) for row in rows(select(["xresnet50-bce"]), [0, 1])]
        [('xresnet50-bce', 0), ('xresnet50-bce', 1)]
    """
    return [asdict(member) | {"fold": fold} for member in members for fold in folds]
