"""Which module may import what: the library no kfp, and a stage's modules only what its image holds."""

import subprocess
import sys
from pathlib import Path

import pytest

from components.images import TARGETS, modules

SOURCE = Path(__file__).parent.parent / "src"
MODULES = {f"audiotagging.{path.stem}" for path in (SOURCE / "audiotagging").glob("*.py")} - {"audiotagging.__init__"}
SOUND = {"soundfile", "soxr"}
TORCH = {"torch", "safetensors"}
PLOTS = {"matplotlib"}

NOT_IN = {"preprocess": TORCH | PLOTS, "train": SOUND | PLOTS, "ensemble": SOUND | TORCH}  # packages, by image


BLOCK = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in PACKAGES:
            raise ModuleNotFoundError(f"{name} is not in this image", name=name)
sys.meta_path.insert(0, Blocker())
"""


def import_without(modules, packages):
    """Import modules in a process of their own, in which some packages cannot be imported."""
    imports = "".join(f"import {module}\n" for module in sorted(modules))
    command = [sys.executable, "-c", f"PACKAGES = {packages}\n{BLOCK}\n{imports}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=SOURCE)
    assert done.returncode == 0, done.stderr


def test_the_library_never_imports_kfp():
    import_without(MODULES, {"kfp"})


@pytest.mark.parametrize("image", TARGETS)
def test_a_stages_modules_import_only_what_its_image_holds(image):
    stages_modules = {f"audiotagging.{module}" for module in modules(image)} & MODULES
    import_without(stages_modules, NOT_IN[image] | {"kfp", "librosa"})


def test_the_table_of_members_needs_only_the_standard_library():
    import_without({"audiotagging.members"}, SOUND | TORCH | PLOTS | {"numpy", "pandas", "pyarrow", "kfp"})
