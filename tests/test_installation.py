"""What `make dist` builds, and the installed command `audiotagging`, in a folder far from the clone."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.data_folder import RATE

from commands import VERSION
from components.images import IMAGES, image

ROOT = Path(__file__).parent.parent
# What setuptools adds to a source distribution.
ADDED = {"PKG-INFO", "setup.cfg"}
METADATA = "src/audiotagging.egg-info/"


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the clone, without what git ignores."""
    copy = tmp_path_factory.mktemp("copies") / "clone"
    ignored = {".git", *(ROOT / ".gitignore").read_text().replace("/", "").split()}
    shutil.copytree(ROOT, copy, ignore=lambda folder, names: ignored if Path(folder) == ROOT else ["__pycache__"])
    return copy


@pytest.fixture(scope="module")
def dist(clone):
    """The folder of the wheel and of the source distribution."""
    programs = Path(sys.executable).parent
    command = ["make", "--silent", "--assume-old", ".venv/.complete", "dist", f"BIN={programs}"]
    subprocess.run(command, cwd=clone, check=True)
    return clone / "dist"


@pytest.fixture(scope="module")
def wheel(dist):
    return dist / f"audiotagging-{VERSION}-py3-none-any.whl"


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """A folder of installed packages that has only this one."""
    site = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel], check=True
    )
    return site


def audiotagging(site, *arguments, cwd):
    command = [sys.executable, site / "bin" / "audiotagging", *arguments]
    environment = os.environ | {"PYTHONPATH": str(site)}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)


def files(folder, pattern="*"):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob(pattern)
        if path.is_file() and path.suffix != ".pyc"
    }


def test_the_source_distribution_has_every_file_of_the_clone(dist, clone):
    with tarfile.open(dist / f"audiotagging-{VERSION}.tar.gz") as archive:
        paths = [member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()]
    packed = {path for path in paths if path not in ADDED and not path.startswith(METADATA)}
    ours = {path.as_posix() for path in files(clone) if "dist" not in path.parts and "egg-info" not in str(path)}
    assert packed == ours


def test_a_wheel_has_every_file_of_the_library_and_takes_no_name_that_others_may_use(site):
    assert files(site / "audiotagging") == files(ROOT / "src" / "audiotagging")
    for folder in ("commands", "components"):
        assert files(site / "audiotagging_pipeline" / "clone" / folder) == files(ROOT / folder, "*.py")
    names = {path.name for path in site.iterdir()}
    assert names == {"audiotagging", "audiotagging_pipeline", f"audiotagging-{VERSION}.dist-info", "bin"}


def test_the_command_runs_anywhere(site, tmp_path):
    version = audiotagging(site, "--version", cwd=tmp_path)
    assert (version.returncode, version.stdout) == (0, f"audiotagging {VERSION}\n")
    check = audiotagging(site, "check", "--data", "absent", cwd=tmp_path)
    assert check.returncode == 2 and check.stderr.startswith("error: ") and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_wheel_works_in_a_fresh_environment(wheel, tmp_path):
    environment, data = tmp_path / "environment", tmp_path / "data"
    venv.create(environment, with_pip=True)
    subprocess.run([environment / "bin" / "pip", "install", "--quiet", "--no-index", "--no-deps", wheel], check=True)
    # The packages that it depends on are those of this environment, instead of three gigabytes to download.
    [packages] = (environment / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    for label in ("dog", "cat"):
        (data / label).mkdir(parents=True)
        for number in range(3):
            samples = np.random.default_rng(number).normal(0, 0.1, RATE)
            soundfile.write(data / label / f"{number}.wav", samples, RATE)

    def run(program, *arguments):
        command = [environment / "bin" / program, *arguments]
        without_clone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=without_clone)

    where = run("python", "-c", "import audiotagging; print(audiotagging.__file__)")
    assert Path(where.stdout.strip()).is_relative_to(environment)
    assert run("audiotagging", "--version").stdout == f"audiotagging {VERSION}\n"
    checked = run("audiotagging", "check", "--data", "data")
    assert (checked.returncode, "data can be used" in checked.stdout) == (0, True), checked.stderr


@pytest.mark.parametrize("target", IMAGES)
def test_it_names_the_images_that_a_clone_of_its_version_builds(site, tmp_path, target):
    script = site / "audiotagging_pipeline" / "clone" / "components" / "images.py"
    named = subprocess.run([sys.executable, script, target], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert named.stdout.strip() == image(target)
