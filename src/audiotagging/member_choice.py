"""Chooses the members that score best on real sounds in a given time.

The steps of `LADDER` were ordered by measurements on ESC-10 (see docs/recipe.md): few members that train to their end
score better than many that do not, so members are added, and pictures enlarged, as time allows. This module uses only
the standard library, as `members` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from audiotagging.base.wording import duration, number, pluralize
from audiotagging.members import LINEAR, LINEAR_MEMBER, REFERENCE, Member

# The members in the order in which they join. Those with binary cross-entropy and a small head learn soonest.
ORDER = (
    "xresnet18ssa-bce",
    "xresnet34ssa-bce",
    "xresnet18ssa-focal",
    "xresnet34ssa-focal",
    "xresnet50-bce",
    "xresnet34-focal",
)
# Work of training on a crop, where that of xresnet18ssa at 64 pixels is 1, measured on one core with AVX512-BF16. Work
# at other sizes follows that of the next size below by its number of pixels.
NETWORK_WORK = {"xresnet18ssa": 1.0, "xresnet34ssa": 1.7, "xresnet34": 1.6, "xresnet50": 2.1}
SIZE_WORK = {32: 0.37, 48: 0.75, 64: 1.0, 96: 2.0, 128: 3.2}
BATCH_SIZE = 32
EPOCHS = 10  # of a member; the schedule of the learning rate is one cycle, however long it is
# Crops of a member that trains to its end: enough for every clip to be seen ten times, and for every class.
LEAST_CROPS, CROPS_PER_CLIP, CROPS_PER_CLASS = 12_800, 10, 640
MIXUP_FROM = 4.0  # times enough crops: in shorter trainings, mixing crops costs more than it gives (docs/recipe.md)
SCORING_WORK = 5.0  # of all windows and views of a five-second clip, in crops to train on
PREPARING = 0.01  # seconds for each clip to read, transform and describe it, on one core
SHARING = 0.85  # of the speed of a core remains when others compute too
STARTING = 25.0  # seconds in which no network computes: imports, reports and checks
STARTING_ROW = 6.0  # seconds in which the processes of a row start


@dataclass(frozen=True)
class Step:
    """A step of the ladder.

    Attributes:
        members: Number of networks, beside the linear model.
        size: Height and width of their pictures in pixels.
        crops: Crops that each of them trains on, as a multiple of those of a member that trains to its end.
    """

    members: int
    size: int
    crops: float


LADDER = (
    Step(1, 32, 0.5),
    Step(1, 32, 1),
    Step(1, 32, 2),
    Step(2, 32, 1.5),
    Step(2, 32, 2),
    Step(2, 32, 3),
    Step(2, 64, 3),
    Step(4, 64, 3),
    Step(4, 64, 4),
    Step(6, 64, 6),
    Step(6, 128, 6),
    Step(6, 128, 12),
)


@dataclass(frozen=True)
class Machine:
    """How fast a machine trains.

    Attributes:
        speed: Crops of 64 pixels on which it trains xresnet18ssa in a second, on one core or on one GPU.
        cores: Number of its cores.
        gpus: Number of its GPUs.
        parallel: Number of rows to train at once. None for one per GPU, or one per core without GPUs.
    """

    speed: float
    cores: int
    gpus: int = 0
    parallel: int | None = None


@dataclass(frozen=True)
class Data:
    """What there is to train on and to score.

    Attributes:
        clips: Number of clips to train on.
        scored: Number of clips to score.
        classes: Number of classes.
        folds: Number of times that each member is trained.
    """

    clips: int
    scored: int
    classes: int
    folds: int = 1


@dataclass(frozen=True)
class Choice:
    """Members to train, and the seconds that a run of them will take."""

    members: Sequence[Member]
    seconds: float

    def __str__(self) -> str:
        """Return a readable summary."""
        first, networks = self.members[0], len(self.members) - 1
        crops = first.cycles * first.epochs * first.epoch_size * first.batch_size
        each = " each" if networks > 1 else ""
        what = f"{pluralize(networks, 'network')} of {first.size} px, {number(crops)} crops{each}, and a linear model"
        if list(self.members) == list(REFERENCE):
            what = "the published members"
        return f"{what}, about {duration(self.seconds)}"


def choose_members(budget: float, *, machine: Machine, data: Data) -> Choice:
    """Return the members of the highest step that a budget allows.

    If it allows none, they are those of the first step, with as many crops as it allows, though at least one epoch.

    Args:
        budget: Seconds that the whole run may take.
        machine: How fast the machine trains.
        data: What there is to train on.
    """
    choices = [_choice(step, machine=machine, data=data) for step in LADDER]
    choices.append(Choice(REFERENCE, _seconds(REFERENCE, machine=machine, data=data)))
    within = [choice for choice in choices if choice.seconds <= budget]
    if within:
        return within[-1]
    (network, linear), longest = choices[0].members, choices[0].seconds
    others = _seconds([replace(network, epoch_size=1, epochs=1), linear], machine=machine, data=data)
    share = max(0.0, budget - others) / (longest - others) if longest > others else 1.0
    members = [replace(network, epoch_size=max(1, int(share * network.epoch_size))), linear]
    return Choice(members, _seconds(members, machine=machine, data=data))


def _choice(step: Step, *, machine: Machine, data: Data) -> Choice:
    enough = max(LEAST_CROPS, CROPS_PER_CLIP * data.clips, CROPS_PER_CLASS * data.classes)
    epoch_size = max(1, round(step.crops * enough / (EPOCHS * BATCH_SIZE)))
    by_id = {member.id: member for member in REFERENCE}
    settings: dict[str, Any] = {"size": step.size, "batch_size": BATCH_SIZE, "epochs": EPOCHS, "cycles": 1}
    settings |= {"epoch_size": epoch_size, "mixup": float(step.crops >= MIXUP_FROM)}
    networks = [replace(by_id[name], **settings) for name in ORDER[: step.members]]
    members = [*networks, LINEAR_MEMBER]
    return Choice(members, _seconds(members, machine=machine, data=data))


def _seconds(members: Sequence[Member], *, machine: Machine, data: Data) -> float:
    """Estimate the seconds of a run: its rows are given to the lane that is free first, the longest first.

    A linear model needs no lane of its own, as in `commands.local.slots`.
    """
    networks = [member for member in members if member.network != LINEAR]
    lanes = min(machine.parallel or machine.gpus or machine.cores, len(networks) * data.folds)
    speed = machine.speed
    if not machine.gpus and machine.cores > 1:
        speed *= SHARING * max(1, machine.cores // lanes)
    lengths = [STARTING_ROW + work(member, scored=data.scored) / speed for member in members for _ in range(data.folds)]
    ends = [0.0] * lanes
    for length in sorted(lengths, reverse=True):
        ends[ends.index(min(ends))] += length
    return STARTING + PREPARING * (data.clips + data.scored) / machine.cores + max(ends)


def work(member: Member, *, scored: int) -> float:
    """Return the work of training a member and scoring clips with it, in crops of xresnet18ssa at 64 pixels."""
    if member.network == LINEAR:
        return 0.0
    below = max(size for size in SIZE_WORK if size <= member.size)
    each = NETWORK_WORK[member.network] * SIZE_WORK[below] * (member.size / below) ** 2
    return each * (member.cycles * member.epochs * member.epoch_size * member.batch_size + SCORING_WORK * scored)
