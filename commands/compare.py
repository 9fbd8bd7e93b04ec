"""Compare two runs on the same clips: print the difference with its interval, and the classes that gained or lost.

Examples:
    audiotagging compare out/before out/after
    audiotagging compare out/before out/after --classes 80
"""

import argparse
from pathlib import Path
from typing import Any

from audiotagging.base.errors import UserError
from audiotagging.evaluation.comparison import compare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("old", type=Path, metavar="OUT_A", help="output of one run")
    parser.add_argument("new", type=Path, metavar="OUT_B", help="output of the other run")
    parser.add_argument(
        "--classes",
        type=int,
        default=10,
        metavar="N",
        help="number of gains and of losses to list (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Print how the data differ, the scores, and the classes that gained and lost the most."""
    if args.classes < 0:
        raise UserError(f"--classes: expected a number of at least 0, found {args.classes}")
    comparison = compare(args.old, args.new)
    print(f"A: {args.old}\nB: {args.new}")
    print(*comparison["notes"], "", sep="\n")
    print(f"{'lwlrap':<36}{'clips':>6}{'A':>8}{'B':>8}{'B - A':>9}  95 % interval")
    for name, row in comparison["sets"].items():
        interval = (row["difference_low"], row["difference_high"])
        _print_row(name, row["clips"], row["old"]["score"], row["new"]["score"], row["difference"], interval)
    print(f"\n{'mAP':<36}{'clips':>6}{'A':>8}{'B':>8}{'B - A':>9}")
    for name, row in comparison["sets"].items():
        old, new = (row["mean_average_precision"][run] for run in ("old", "new"))
        print(f"{name:<36}{row['clips']:>6}{old:>8.4f}{new:>8.4f}{new - old:>+9.4f}")
    classes = comparison["classes"]
    gains = [row for row in classes if row["difference"] > 0]
    losses = [row for row in reversed(classes) if row["difference"] < 0]
    _print_classes(f"\n{len(gains)} of {len(classes)} classes gained", gains, args.classes)
    _print_classes(f"\n{len(losses)} of {len(classes)} classes lost", losses, args.classes)
    return 0


def _print_classes(title: str, rows: list[dict[str, Any]], count: int) -> None:
    print(title)
    for row in rows[:count]:
        _print_row(row["label"], row["clips"], row["old"], row["new"], row["difference"], (row["low"], row["high"]))
    if len(rows) > count:
        print(f"... and {len(rows) - count} more")


def _print_row(name: str, clips: int, old: float, new: float, difference: float, interval: tuple[float, float]) -> None:
    low, high = interval
    verdict = "" if low <= 0 <= high else "  clear"
    print(f"{name:<36}{clips:>6}{old:>8.4f}{new:>8.4f}{difference:>+9.4f}  {low:+.4f} to {high:+.4f}{verdict}")
