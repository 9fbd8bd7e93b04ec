"""The installed command `audiotagging`, in a folder far from the clone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commands import VERSION
from components.images import IMAGES, image

ROOT = Path(__file__).parent.parent
PARTS = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "pipeline.py",
    "commands",
    "components",
    "docker",
    "requirements",
    "src",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder of installed packages that has only this one."""
    clone, site = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("site")
    for name in PARTS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, clone / name)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", site]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, clone], check=True)
    return site


def audiotagging(site, *arguments, cwd):
    command = [sys.executable, site / "bin" / "audiotagging", *arguments]
    environment = os.environ | {"PYTHONPATH": str(site)}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)


def python_files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.py")}


def test_a_wheel_has_every_module_and_takes_no_name_that_others_may_use(site):
    assert python_files(site / "audiotagging") == python_files(ROOT / "src" / "audiotagging")
    for folder in ("commands", "components"):
        assert python_files(site / "audiotagging_pipeline" / "clone" / folder) == python_files(ROOT / folder)
    names = {path.name for path in site.iterdir()}
    assert names == {"audiotagging", "audiotagging_pipeline", f"audiotagging-{VERSION}.dist-info", "bin"}


def test_the_command_runs_anywhere(site, tmp_path):
    version = audiotagging(site, "--version", cwd=tmp_path)
    assert (version.returncode, version.stdout) == (0, f"audiotagging {VERSION}\n")
    check = audiotagging(site, "check", "--data", "absent", cwd=tmp_path)
    assert check.returncode == 2 and check.stderr.startswith("error: ") and not list(tmp_path.iterdir())


@pytest.mark.parametrize("target", IMAGES)
def test_it_names_the_images_that_a_clone_of_its_version_builds(site, tmp_path, target):
    script = site / "audiotagging_pipeline" / "clone" / "components" / "images.py"
    named = subprocess.run([sys.executable, script, target], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert named.stdout.strip() == image(target)
