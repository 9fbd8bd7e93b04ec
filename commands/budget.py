"""The option --budget: lets the time decide which members are trained."""

import argparse
import logging
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiotagging.base.errors import UserError
from audiotagging.base.machine import threads
from audiotagging.base.typed_json import read_json, write_json
from audiotagging.base.wording import duration
from audiotagging.member_choice import Choice, Data, Machine, choose_members
from audiotagging.members import rows

if TYPE_CHECKING:  # the image of the client, which only submits, has no packages that read data
    from audiotagging.data.dataset import Dataset

BUDGET = 300  # seconds
MORE = 12  # times the budget, to say what it would bring
SPEED = "speed.json"  # in the working folder, so that a run that is resumed trains the same members
UNITS = {"s": 1, "m": 60, "h": 3600}

logger = logging.getLogger(__name__)


def add_budget(group: argparse._ActionsContainer) -> None:
    """Add the option."""
    group.add_argument(
        "--budget",
        type=_seconds,
        metavar="TIME",
        help="choose the members, their size and their number of crops so that the run takes about this long, such as "
        f"5m or 1h (default: {duration(BUDGET)}, unless --members or --set say what to train)",
    )


def uses_budget(args: argparse.Namespace) -> bool:
    """Return whether the time decides what is trained.

    Raises:
        UserError: If other options decide it too.
    """
    decided = [option for option, value in (("--members", args.members), ("--set", args.set)) if value]
    if args.budget and decided:
        raise UserError(f"--budget and {decided[0]} both say what to train; omit one of them")
    return not decided


def rows_within(
    args: argparse.Namespace, dataset: "Dataset", *, gpus: Sequence[str], work: Path
) -> list[dict[str, Any]]:
    """Return the rows to train within the budget, and say what was chosen and why.

    Args:
        args: The options of the run.
        dataset: The data set.
        gpus: The GPUs to use.
        work: The working folder of the run, which remembers the speed of the machine.
    """
    budget = args.budget or BUDGET
    part, labels = dataset.clips["part"], dataset.clips["labels"].str.len() > 0
    training = int((part == "curated").sum())
    held_out = training * any(fold >= 0 for fold in args.folds)
    data = Data(training, int((labels & (part == "test")).sum()) + held_out, len(dataset.classes), len(args.folds))
    if not (work / SPEED).is_file():
        write_json(work / SPEED, {"crops_per_second": _measure()})
    speed = read_json(work / SPEED, dict[str, float])["crops_per_second"]
    machine = Machine(speed, cores=threads(), gpus=len(gpus), parallel=args.parallel)
    choice = choose_members(budget, machine=machine, data=data)
    _say(budget, choice, choose_members(MORE * budget, machine=machine, data=data))
    return rows(choice.members, args.folds)


def _say(budget: float, choice: Choice, more: Choice) -> None:
    logger.info("budget of %s: %s (%s)", duration(budget), choice, ", ".join(each.id for each in choice.members))
    if choice.seconds > budget:
        logger.info("This is the least that can be trained: it takes longer than the budget.")
    if list(more.members) != list(choice.members):
        logger.info("With --budget %s: %s", _written(MORE * budget), more)


def _measure() -> float:
    """Measure how fast this machine trains, in a process of its own, so that this one need not import torch."""
    command = [sys.executable, "-m", "audiotagging.training.speed"]
    logger.info("measuring how fast this machine trains, to choose the members; --members chooses them yourself")
    found = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    return float(found.stdout)


def _written(seconds: float) -> str:
    """Write a time as the option takes it."""
    for unit in ("h", "m"):
        if seconds % UNITS[unit] == 0:
            return f"{seconds / UNITS[unit]:g}{unit}"
    return f"{seconds:g}s"


def _seconds(text: str) -> float:
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smh])", text)
    if not found or not float(found[1]):
        raise argparse.ArgumentTypeError(f"expected a time such as 90s, 5m or 1h, found {text!r}")
    return float(found[1]) * UNITS[found[2]]
