"""The members of the ensemble: which network, which loss, how long, at what size.

The one place that defines them. `REFERENCE` is the published recipe (6th place of Freesound Audio Tagging 2019);
`DEMO` are the same six members at a size that two cores train in minutes. Standard library only: the pipeline reads
this module on machines that have neither torch nor numpy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from audiotagging.errors import UserError

NETWORKS = ("xresnet18ssa", "xresnet34ssa", "xresnet34", "xresnet50")  # keys of training.networks.NETWORKS
LOSSES = ("focal", "bce")  # keys of training.losses.LOSSES
CHOICES = {"network": NETWORKS, "loss": LOSSES}


@dataclass(frozen=True, kw_only=True)
class Member:
    """One member of the ensemble; every field has the published value as its default.

    A member whose fields are out of range cannot be made: that is a UserError.

    Attributes:
        id: Unique name, used in file names.
        network: One of `NETWORKS`.
        loss: One of `LOSSES`.
        epochs: Epochs of one cycle.
        cycles: One-cycle schedules in a row, each with the weights and optimiser state that the one before ended with.
        frames: Spectrogram frames of a training crop and of a prediction window (the original's base_dim).
        size: Height and width in pixels to which a crop is resized (SZ).
        batch_size: Crops in a batch (BS); at least 2, for batch norm.
        epoch_size: Batches in an epoch.
        lr: Peak learning rate of the one-cycle schedule.
        f2cl: Clips whose F2 score is not below this are left out of the loss.
        validate_every: Epochs between two validations of a fold; the last epoch is always validated.
        overlap: Share of a prediction window that the next one covers again, in [0, 1).
        tail: Whether a last window ends at the clip's end; the original left up to `frames` frames unseen.
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
    validate_every: int = 10
    overlap: float = 0.0
    tail: bool = True

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, value in asdict(self).items():
            if name in CHOICES:
                right, expected = value in CHOICES[name], f"one of {', '.join(CHOICES[name])}"
            elif name == "overlap":
                right, expected = 0 <= value < 1, "a share from 0 to below 1"
            elif name == "batch_size":
                right, expected = value >= 2, "a number from 2 on, for batch norm"
            elif type(value) in (int, float):
                right, expected = 0 < value < float("inf"), "a number above 0"
            else:
                continue
            if not right:
                raise UserError(f"member {self.id}: {name} expects {expected}, found {value}")

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Member":
        """Build a member from a row of `rows`, whose numbers may have become floats on the way (KFP, JSON).

        A field that a row of an earlier version lacks has its default.

        Raises:
            UserError: If it is no such row.
        """
        try:
            return cls(**{field.name: field.type(row[field.name]) for field in fields(cls) if field.name in row})  # type: ignore[operator]
        except (TypeError, ValueError) as error:
            raise UserError(f"expected the fields of a member, found {row} ({error})") from error


REFERENCE = (
    Member(id="xresnet18ssa-focal", network="xresnet18ssa", loss="focal", epochs=80),
    Member(id="xresnet34ssa-focal", network="xresnet34ssa", loss="focal", epochs=60),
    Member(id="xresnet18ssa-bce", network="xresnet18ssa", loss="bce", epochs=80),
    Member(id="xresnet34ssa-bce", network="xresnet34ssa", loss="bce", epochs=60),
    Member(id="xresnet34-focal", network="xresnet34", loss="focal", epochs=90),
    Member(id="xresnet50-bce", network="xresnet50", loss="bce", epochs=65, cycles=2),
)

# Two hundred batches of 16: few for the published lr. The networks with the large head train their bodies at a tenth.
DEMO = tuple(
    replace(
        member,
        id=f"demo-{member.id}",
        epochs=8 // member.cycles,
        lr=0.003 if member.network.endswith("ssa") else 0.02,
        size=64,
        batch_size=16,
        epoch_size=25,
    )
    for member in REFERENCE
)

SETTABLE = tuple(field.name for field in fields(Member) if field.name != "id")

TABLES = {"reference": REFERENCE, "demo": DEMO}


def select(names: Sequence[str]) -> list[Member]:
    """Return the members that the names stand for, each once, in the order given.

    Args:
        names: Names of tables ("demo", "reference") or ids of members.

    Raises:
        UserError: If a name is neither.
    """
    by_id = {member.id: member for table in TABLES.values() for member in table}
    chosen: dict[str, Member] = {}
    for name in names:
        if name not in TABLES and name not in by_id:
            raise UserError(f"no member or table is called {name!r}; there are {', '.join([*TABLES, *by_id])}")
        chosen |= {member.id: member for member in TABLES.get(name) or [by_id[name]]}
    return list(chosen.values())


def override(members: Sequence[Member], changes: Mapping[str, str]) -> list[Member]:
    """Return the members with some fields changed.

    Args:
        members: The members to change.
        changes: New values as text, by field.

    Raises:
        UserError: If there is no such field, or the text is no value of it, or one out of range.
    """
    types = {field.name: field.type for field in fields(Member) if field.name in SETTABLE}
    values: dict[str, Any] = {}
    for name, text in changes.items():
        if name not in types:
            raise UserError(f"a member has no field {name!r} to set; there are {', '.join(types)}")
        try:
            values[name] = _parse(types[name], text)
        except (ValueError, KeyError):
            raise UserError(f"{name} expects {types[name].__name__}, found {text!r}") from None  # type: ignore[union-attr]
    return [replace(member, **values) for member in members]


def _parse(kind: Any, text: str) -> Any:
    return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)


def rows(members: Sequence[Member], folds: Sequence[int]) -> list[dict[str, Any]]:
    """Return the flat rows of the pipeline's parallel loop: every member with every fold.

    Args:
        members: The members to train.
        folds: Folds to hold out, one after the other; -1 trains on everything.
    """
    return [asdict(member) | {"fold": fold} for member in members for fold in folds]
