"""constraints.txt pins everything that any extra needs."""

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(line) for lines in lists for line in lines if not line.startswith("audiotagging")]


def test_every_line_is_a_name_and_an_exact_version():
    for name, version in pins().items():
        assert name == canonicalize_name(name)
        assert re.fullmatch(r"\d+(\.\w+)*", version), f"{name}=={version}"


def test_declared_versions_are_the_pinned_ones():
    for requirement in declared():
        assert str(requirement.specifier) == f"=={pins()[canonicalize_name(requirement.name)]}", requirement


@pytest.mark.parametrize("name", ["nvidia-cudnn-cu13", "nvidia-nccl-cu13", "triton"])
def test_what_the_cuda_build_of_torch_needs_is_pinned_even_if_this_environment_has_the_cpu_build(name):
    assert name in pins()


def test_indirect_dependencies_are_pinned():
    # Walk what the installed packages say they need.
    waiting = declared()
    seen = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        extras = requirement.extras or {""}
        if (name, *sorted(extras)) in seen:
            continue
        seen.add((name, *sorted(extras)))
        assert name in pins(), f"{name} is missing in constraints.txt; run `make lock`"
        for needed in map(Requirement, requires(name) or []):
            if not needed.marker or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)
