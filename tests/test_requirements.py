"""requirements/ locks all that pyproject.toml asks for, on every platform, and pip accepts nothing else."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from itertools import product
from pathlib import Path

import pytest
from helpers.locked_packages import lines, locked, pins
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME = {requirement.name: requirement for requirement in map(Requirement, PYPROJECT["project"]["dependencies"])}
STAGES = ("data", "training", "results", "tagging")
GROUPS = (*STAGES, "onnx", "pipeline", "dev")
FILES = [*GROUPS, "build", "torch-cuda", "torch-cpu"]
MACHINES = {
    "Linux on x86-64": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
    "Linux on Arm": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64"},
    "macOS": {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
}
LEFT_OUT = {"data": {"numba", "llvmlite"}}  # librosa's compiler, which compiles nothing of what `preprocess` calls
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def names(group: str) -> set[str]:
    """The packages in a group of pyproject.toml, as they are written there."""
    found = set()
    for line in PYPROJECT["dependency-groups"][group]:
        found |= names(line["include-group"]) if isinstance(line, dict) else {line}
    return found


def declared(group: str) -> list[Requirement]:
    """What pyproject.toml asks for in a group. The group `dev` has everything that the project needs too."""
    if group == "dev":
        return [*RUNTIME.values(), *map(Requirement, names(group))]
    return [RUNTIME[name] for name in names(group)]


def test_every_package_that_the_project_needs_is_in_an_image_or_exports_networks():
    assert set().union(*map(names, (*STAGES, "onnx", "pipeline", "export"))) == set(RUNTIME)


@pytest.mark.parametrize("file", FILES)
def test_every_package_has_an_exact_version_and_hashes_and_one_line_for_every_platform(file):
    for pin in locked(file):
        assert pin.name == canonicalize_name(pin.name)
        assert Version(pin.version)
        assert pin.hashes and all(re.fullmatch("[0-9a-f]{64}", digest) for digest in pin.hashes), pin.name
    for machine, python in product(MACHINES.values(), PYTHONS):
        names = [pin.name for pin in locked(file) if not pin.marker or pin.marker.evaluate(at(machine, python))]
        assert len(names) == len(set(names))


def at(machine: dict[str, str], python: str) -> dict[str, str]:
    return {**machine, "python_version": python, "python_full_version": f"{python}.1"}


@pytest.mark.parametrize("file", FILES)
def test_the_only_index_that_is_named_is_that_of_the_cpu_build(file):
    index = ["--extra-index-url https://download.pytorch.org/whl/cpu"] if file == "torch-cpu" else []
    options = ["--only-binary :all:", "--no-binary kfp-server-api", *index]
    assert [line for line in lines(file) if line.startswith("--")] == options
    assert not [line for line in lines(file) if "://" in line and line not in index]


@pytest.mark.parametrize("group", GROUPS)
def test_declared_versions_are_the_locked_ones(group):
    found = pins(group, "torch-cuda")
    for requirement in declared(group):
        assert str(requirement.specifier) == f"=={found[requirement.name]}", f"{requirement}: run `make lock`"


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("group", GROUPS)
def test_indirect_dependencies_are_locked_for_every_platform(group, machine, python):
    environment = at(MACHINES[machine], python)
    found = pins(group, "torch-cuda", environment=environment)
    waiting, seen = declared(group), set()
    while waiting:  # walk what the installed packages say they need
        requirement = waiting.pop()
        extras = requirement.extras or {""}
        if (requirement.name, *sorted(extras)) in seen:
            continue
        seen.add((requirement.name, *sorted(extras)))
        name = canonicalize_name(requirement.name)
        if name in LEFT_OUT.get(group, ()):
            assert name not in found
            continue
        assert name in found, f"{name} is missing in {group}.txt; run `make lock`"
        assert requirement.specifier.contains(found[name], prereleases=True), requirement
        try:
            needs = requires(name) or []
        except PackageNotFoundError:  # another platform's
            continue
        for needed in map(Requirement, needs):
            if not needed.marker or any(needed.marker.evaluate({**environment, "extra": extra}) for extra in extras):
                waiting.append(needed)


@pytest.mark.parametrize("file", ["build", *GROUPS])
def test_all_files_agree(file):
    assert pins(file).items() <= pins("dev").items()
    assert ("kfp" in pins(file)) == (file not in ("build", "onnx"))


@pytest.mark.parametrize("machine", MACHINES)
def test_torch_has_two_builds_and_only_one_of_them_needs_cuda(machine):
    environment = at(MACHINES[machine], "3.11")
    ours, cpu = (pins(file, environment=environment) for file in ("torch-cuda", "torch-cpu"))
    version = ours.pop("torch")
    assert cpu == {"torch": f"{version}+cpu" if "Linux" in machine else version}
    assert all(re.match("triton|cuda-|nvidia-", name) for name in ours)
    assert set(ours) >= ({"nvidia-cudnn-cu13", "nvidia-nccl-cu13", "triton"} if "Linux" in machine else set())
    assert not [name for file in GROUPS for name in pins(file) if name in ours or name == "torch"]


@pytest.mark.parametrize("file", ["Makefile", "docker/Dockerfile", "docker/base-image.sh"])
def test_pip_gets_nothing_but_locked_packages_and_the_project(file):
    text = (ROOT / file).read_text().replace("\\\n", "")
    code = "\n".join(line for line in text.splitlines() if not line.startswith(("#", "PIP_INSTALL :=")))
    commands = re.findall(r"(?:\bpip\b.*? (?:install|download|wheel)|\$\(PIP_INSTALL\)) (.*?)(?:&&|\n)", code)
    assert commands
    assert not [
        one
        for one in commands
        if not re.search(r"--requirement |--editable \.$|--no-index wheels/|dist/\*\.tar\.gz$", one)
    ]
