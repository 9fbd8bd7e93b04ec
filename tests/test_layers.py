"""Which module may import what: rooms only those below them, and images only packages that are installed in them."""

import ast
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest
from helpers.modules import BLOCK, MODULES, PACKAGE, ROOT
from helpers.slow import slow_but

from audiotagging.base.import_closure import imported_modules
from components.images import ONNX, PACKAGES, TARGETS, files
from docs.rooms import rooms

# The rooms of the library, and its modules beside them: each imports only what stands before it.
ROOMS = (
    "base",
    "members",
    "member_choice",
    "demo",
    "statistics",
    "artifacts",
    "sounds",
    "data",
    "training",
    "ensemble",
    "evaluation",
    "champions",
    "report",
    "runs",
    "studies",
    "tagging",
    "serving",
    "export",
    "api",
)
PARQUET = {"pandas", "pyarrow"}
SOUND = {"soundfile", "soxr", "scipy", "av"}
TORCH = {"torch", "safetensors"}
PLOTS = {"matplotlib", "jinja2"}
LIBROSA = {"librosa", "sklearn", "joblib"}  # imported by the process of a check alone
NOT_IN = {"data": TORCH | PLOTS, "training": SOUND | PLOTS, "results": SOUND | TORCH, "tagging": PLOTS}  # packages
# Networks as ONNX can be tagged with where onnxruntime is installed.
ELSEWHERE = {"tagging": {"onnxruntime"}}
# What the client runs: it submits, and looks at runs.
CLIENT = ["submit", "schedule", "runs", "follow", "results", "stop", "retry", "compile", "members", "completion"]


def room(module):
    """Return the folder of the library that a module lies in, or the module itself if it lies beside the folders."""
    return module.split(".")[1]


def imported(path):
    """Return the library's modules that a file imports anywhere in it; an import that names none is a fault."""
    text = path.read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
            assert node.module.partition(".")[0] != "audiotagging" or MODULES.keys() & set(names), f"{path}: {names}"
    return imported_modules(text, [PACKAGE])


def at_once(path):
    """Return the names of what a file imports when it is imported itself: not within functions, nor for types alone."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found


def lacking(names, lists):
    """Return the packages of imported names that are in none of the lists in requirements/."""
    locked = {
        name.lower().replace("_", "-")
        for each in lists
        for name in re.findall(r"^([\w.-]+)==", (ROOT / "requirements" / f"{each}.txt").read_text(), re.MULTILINE)
    }
    tops = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)
    provided = packages_distributions()
    ours = {"audiotagging", "commands", "components", "pipeline"}
    return {
        top for top in tops - ours if not {name.lower().replace("_", "-") for name in provided.get(top, [top])} & locked
    }


def copy_code(image, folder):
    """Copy what an image contains to a folder."""
    for name in files(image):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())


def import_without(modules, packages, at=(PACKAGE.parent, ROOT)):
    """Import modules in a process of their own, in which some packages cannot be imported."""
    imports = "".join(f"import {module}\n" for module in sorted(modules))
    command = [sys.executable, "-P", "-c", f"PACKAGES = {packages}\n{BLOCK}\n{imports}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, at))}
    done = subprocess.run(command, capture_output=True, text=True, cwd=at[0], env=environment)
    assert done.returncode == 0, done.stderr


def test_every_folder_of_the_library_is_a_room():
    assert {room(module) for module in MODULES} <= set(ROOMS)


def test_the_tree_lists_the_rooms_in_their_order():
    assert tuple(rooms()) == ROOMS


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_its_room_and_from_rooms_below(module):
    own = ROOMS.index(room(module))
    assert [name for name in imported(MODULES[module]) if ROOMS.index(room(name)) > own] == []
    assert "kfp" not in {name.partition(".")[0] for name in at_once(MODULES[module])}


def test_no_two_modules_import_each_other():
    left = {module: imported(path) for module, path in MODULES.items()}
    while free := [module for module, names in left.items() if not names & left.keys()]:
        for module in free:
            del left[module]
    assert not left, f"modules in a circle, or that import one: {sorted(left)}"


@pytest.mark.parametrize("image", TARGETS)
def test_an_image_has_the_packages_that_its_modules_import(image):
    paths = [ROOT / name for name in files(image) if name.endswith(".py")]
    names = {
        name.name if isinstance(node, ast.Import) else node.module
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in node.names
    }
    assert lacking(names, PACKAGES[image]) == ELSEWHERE.get(image, set())


def test_the_image_of_the_client_has_the_packages_that_its_commands_import():
    left = [ROOT / "pipeline.py", *(ROOT / "commands" / f"{name.replace('-', '_')}.py" for name in CLIENT)]
    seen, names = set(), set()
    while left:
        path = left.pop()
        if path in seen:
            continue
        seen.add(path)
        found = at_once(path)
        names |= found
        for name in found:
            inside = PACKAGE.parent if name.startswith("audiotagging.") else ROOT
            module = inside.joinpath(*name.split("."))
            left += [each for each in (module.with_suffix(".py"), module / "__init__.py") if each.is_file()]
    assert len(seen) > 50
    assert lacking(names, ["pipeline"]) == set()


@pytest.mark.parametrize("image", slow_but(TARGETS, "results"))
def test_the_modules_of_an_image_can_be_imported_with_its_packages_alone(image, tmp_path):
    copy_code(image, tmp_path)
    modules = {
        ".".join(path.relative_to(tmp_path / "src").with_suffix("").parts)
        for path in (tmp_path / "src").rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py", "onnx_networks.py")
    }
    import_without(modules, NOT_IN[image] | LIBROSA | {"kfp"}, at=[tmp_path / "src"])


def test_exports_need_no_kfp():
    import_without({module for module in MODULES if room(module) == "export"}, {"kfp"})


def test_tagging_needs_torch_only_for_the_networks_of_a_run_and_parquet_only_to_write_it(tmp_path):
    copy_code(ONNX, tmp_path)
    modules = {"commands.__init__", "commands.tag", "audiotagging.tagging.onnx_networks"}
    import_without(modules, TORCH | PLOTS | LIBROSA | PARQUET | {"kfp"}, at=[tmp_path / "src", tmp_path])


def test_the_table_of_members_needs_only_the_standard_library():
    import_without({"audiotagging.members"}, SOUND | TORCH | PLOTS | PARQUET | {"numpy", "kfp"})
