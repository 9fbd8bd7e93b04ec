"""List the versions in a champions folder with their scores and verdicts, or change by hand which one is in use.

Examples:
    audiotagging champion --champions DIR
    audiotagging champion compare 3f2a 81c0 --champions DIR
    audiotagging champion accept 3f2a --champions DIR
    audiotagging champion rollback --champions DIR
    audiotagging champion pin 3f2a --champions DIR
    audiotagging champion unpin --champions DIR
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from audiotagging.artifacts.champions_folder import (
    BY_HAND,
    VERSION,
    VERSIONS,
    Champion,
    Event,
    best_version,
    read_champion,
    read_events,
)
from audiotagging.base.errors import UserError
from audiotagging.champions.promotion import accept, pin, roll_back, unpin
from audiotagging.champions.promotion_rule import MARGIN, judge
from audiotagging.champions.versions import compare_versions

SETS = {"all": "test", "out_of_fold": "out of fold"}
HEADER = ("version", "when", "data", "lwlrap", "95 % interval", "clips", "difference", "verdict", "state")
SHORTEST = 4  # digits of the beginning of a version


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "action",
        nargs="?",
        default="list",
        choices=["list", *ACTIONS],
        help="list all versions (the default); compare two on the clips that both predicted; accept a version, whatever"
        " its verdict was; rollback to the champion before, or to VERSION; pin VERSION, so that no run replaces it, and"
        " unpin it again",
    )
    parser.add_argument(
        "versions", nargs="*", metavar="VERSION", help="a version, or its first digits if only one begins like that"
    )
    parser.add_argument("--champions", type=Path, required=True, metavar="DIR", help="the champions folder")
    parser.add_argument(
        "--margin",
        type=float,
        default=MARGIN,
        metavar="LWLRAP",
        help="lwlrap that a champion may lose, for the verdicts of compare and accept (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Do what is asked for, and print the versions or the outcome."""
    if not args.champions.is_dir():
        raise UserError(f"--champions: expected a champions folder, found no folder {args.champions}")
    if args.action == "list":
        _expect(args, 0)
        _list(args.champions)
        return 0
    args.versions = [_find(args.champions, version) for version in args.versions]
    ACTIONS[args.action](args)
    return 0


def _list(champions: Path) -> None:
    champion, events = read_champion(champions), read_events(champions)
    rows = [HEADER, *(_row(event, champion, champions) for event in events)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    if champion is None:
        print("There is no champion yet.")


def _row(event: Event, champion: Champion | None, champions: Path) -> tuple[str, ...]:
    version, decision, measured = event["version"], event["decision"], event.get("measured")
    comparison = decision.get("comparison") if event["action"] in ("candidate", "accept") else None
    states = []
    if champion:
        states += ["champion"] * (version == champion["version"]) + ["best"] * (version == best_version(champion))
        states += ["pinned"] * (version == champion["version"] and champion.get("pinned", False))
    if not (champions / VERSIONS / version).is_dir():
        states.append("removed")
    verdict = BY_HAND.get(event["action"]) or decision.get("verdict", "promoted")
    if event["action"] == "candidate" and event["after"] != version and verdict in ("first", "better", "not worse"):
        verdict += ", not promoted"
    return (
        version,
        event["when"][:16].replace("T", " "),
        event.get("fingerprint", "")[:8],
        f"{measured['score']:.4f}" if measured else "",
        f"{measured['low']:.4f} to {measured['high']:.4f}" if measured else "",
        f"{measured['clips']} {SETS[measured['set']]}" if measured else "",
        f"{comparison['difference']:+.4f}" if comparison else "",
        verdict,
        ", ".join(states),
    )


def _compare(args: argparse.Namespace) -> None:
    first, second = _expect(args, 2)
    comparison = compare_versions(args.champions, second, first)
    if comparison is None:
        raise UserError(
            f"expected versions with the same classes and with labelled clips in common, found {first} and {second}"
        )
    verdict = judge(comparison, margin=args.margin)
    print(f"A: {first}\nB: {second}\n")
    print(
        f"On {comparison['clips']} {SETS[comparison['set']]} clips, the lwlrap of A is {comparison['champion']:.4f} "
        f"and that of B {comparison['score']:.4f}.\nB - A is {comparison['difference']:+.4f}, 95 % interval "
        f"{comparison['low']:+.4f} to {comparison['high']:+.4f}. The verdict on B: {verdict}."
    )


def _accept(args: argparse.Namespace) -> None:
    (version,) = _expect(args, 1)
    decision = accept(args.champions, version, margin=args.margin)
    print(f"{version} is the champion now. Its verdict is: {decision['verdict']}.")


def _roll_back(args: argparse.Namespace) -> None:
    version = roll_back(args.champions, *args.versions[: len(_expect(args, 0, 1))])
    print(f"{version} is the champion now, and new versions are compared with it.")


def _pin(args: argparse.Namespace) -> None:
    (version,) = _expect(args, 1)
    pin(args.champions, version)
    print(f"{version} is the champion until `audiotagging champion unpin`.")


def _unpin(args: argparse.Namespace) -> None:
    _expect(args, 0)
    print(f"{unpin(args.champions)} is the champion until a run promotes another version.")


ACTIONS: dict[str, Callable[[argparse.Namespace], None]] = {
    "compare": _compare,
    "accept": _accept,
    "rollback": _roll_back,
    "pin": _pin,
    "unpin": _unpin,
}


def _expect(args: argparse.Namespace, *counts: int) -> list[str]:
    """Return the versions that were given, after checking how many there are."""
    if len(args.versions) not in counts:
        expected = " or ".join(map(str, counts))
        raise UserError(f"champion {args.action}: expected {expected} of VERSION, found {len(args.versions)}")
    return list(args.versions)


def _find(champions: Path, beginning: str) -> str:
    """Return the version that begins like this.

    Raises:
        UserError: If none does, or several do.
    """
    versions = sorted(path.name for path in (champions / VERSIONS).glob("*") if VERSION.fullmatch(path.name))
    found = [version for version in versions if version.startswith(beginning)]
    if len(beginning) < SHORTEST or len(found) != 1:
        raise UserError(
            f"expected the beginning of one version, at least {SHORTEST} digits, found {beginning!r}, with which "
            f"{', '.join(found) or 'none'} of {', '.join(versions) or 'no versions'} begins"
        )
    return found[0]
