"""What the files in requirements/ lock."""

import re
from pathlib import Path
from typing import NamedTuple

from packaging.markers import Marker
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent.parent


class Pin(NamedTuple):
    """A line of a file, with the hashes on the lines below it."""

    name: str
    version: str
    marker: Marker | None
    hashes: tuple[str, ...]


def lines(file: str) -> list[str]:
    return (ROOT / "requirements" / f"{file}.txt").read_text().replace("\\\n", "").splitlines()


def locked(file: str) -> list[Pin]:
    found = []
    for line in lines(file):
        if line.startswith(("#", "--")):
            continue
        requirement, *hashes = re.split(r"\s+--hash=sha256:", line)
        parsed = Requirement(requirement)
        (specifier,) = parsed.specifier
        assert specifier.operator == "=="
        found.append(Pin(parsed.name, specifier.version, parsed.marker, tuple(hashes)))
    return found


def pins(*files: str, environment: dict[str, str] | None = None) -> dict[str, str]:
    """The version of every package in some files that is installed here, or in another environment."""
    return {
        pin.name: pin.version
        for file in files
        for pin in locked(file)
        if pin.marker is None or pin.marker.evaluate(environment)
    }
