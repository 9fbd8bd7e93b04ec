"""List the members of the ensembles and their settings, and explain every field with its default and its range.

Examples:
    audiotagging members
    audiotagging run --data DIR --out OUT --members demo --set epochs=10 lr=0.01
"""

import argparse
import inspect
import re
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import MISSING, fields

from audiotagging.members import CHOICES, ENSEMBLES, RANGES, SETTABLE, Member

EXPLANATIONS = re.compile(r"^    (\w+): (.*(?:\n     .*)*)", re.MULTILINE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no options: there are none."""


def run(args: argparse.Namespace) -> int:
    """Print one table per ensemble, and then the fields."""
    varying = [
        name
        for name in SETTABLE
        if any(len({getattr(m, name) for m in ensemble}) > 1 for ensemble in ENSEMBLES.values())
    ]
    for ensemble, members in ENSEMBLES.items():
        print(f"--members {ensemble}")
        _print_table([["id", *varying], *[[m.id, *(f"{getattr(m, name)}" for name in varying)] for m in members]])
        same = {name: getattr(members[0], name) for name in SETTABLE if name not in varying}
        print(_wrapped("all of them: " + ", ".join(f"{name}={value}" for name, value in same.items())) + "\n")
    print("--set FIELD=VALUE ... changes these fields of all members of a run:")
    for name, explanation in explanations().items():
        print(f"\n{name}{_limits(name)}\n{_wrapped(explanation)}")
    return 0


def explanations() -> dict[str, str]:
    """Return the meaning of every field that `--set` changes, from the docstring of `Member`."""
    documented = inspect.getdoc(Member) or ""
    found = {name: " ".join(text.split()) for name, text in EXPLANATIONS.findall(documented)}
    return {name: found[name] for name in SETTABLE}


def _limits(name: str) -> str:
    """Return the choices or the range of a field, and its default."""
    found = [f": {', '.join(CHOICES[name])}"] if name in CHOICES else []
    if name in RANGES:
        low, high = RANGES[name]
        found.append(f": {low:,g} to {high:,g}")
    default = next(field.default for field in fields(Member) if field.name == name)
    return "".join(found) + (f" (default: {default})" if default is not MISSING else "")


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _wrapped(text: str) -> str:
    width = min(shutil.get_terminal_size().columns, 100)
    return textwrap.fill(text, width, initial_indent="  ", subsequent_indent="  ")
