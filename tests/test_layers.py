"""Which module may import what: the library no kfp, and each room of it only what its image holds."""

import ast
import os
import subprocess
import sys

import pytest
from helpers.modules import BLOCK, MODULES, PACKAGE, ROOT, STAGES
from helpers.slow import slow_but

from components.images import FOLDERS, ONNX_COMMANDS, SHARED, TARGETS

SOUND = {"soundfile", "soxr", "scipy"}
TORCH = {"torch", "safetensors"}
PLOTS = {"matplotlib", "jinja2"}
LIBROSA = {"librosa", "sklearn", "joblib"}  # imported by the process of a check alone
NOT_IN = {"data": TORCH | PLOTS, "training": SOUND | PLOTS, "results": SOUND | TORCH, "tagging": PLOTS}  # packages
ALLOWED = {"": {""}, SHARED: {"", SHARED}} | {room: {"", SHARED, *folders} for room, folders in FOLDERS.items()}
ALLOWED["serving"] = ALLOWED["tagging"]  # in the same image
ALLOWED["tagging"] = ALLOWED["serving"] - {"serving"}
ALLOWED["export"] = {*ALLOWED["tagging"], "export"}


def room(module):
    """Return the folder of the library that a module lies in, "" for one beside the folders."""
    parts = module.split(".")
    return parts[1] if len(parts) > 2 else ""


def imported(path):
    """Return the library's modules that a file imports anywhere in it; an import that names none is a fault."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            base = node.module
            names = [base] if base in MODULES else [f"{base}.{name.name}" for name in node.names]
        elif isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        else:
            continue
        names = [name for name in names if name.partition(".")[0] == "audiotagging"]
        assert set(names) <= MODULES.keys(), f"{path}: {names} are no modules of the library"
        found |= set(names)
    return found


def import_without(modules, packages):
    """Import modules in a process of their own, in which some packages cannot be imported."""
    imports = "".join(f"import {module}\n" for module in sorted(modules))
    command = [sys.executable, "-c", f"PACKAGES = {packages}\n{BLOCK}\n{imports}"]
    environment = {**os.environ, "PYTHONPATH": f"{PACKAGE.parent}:{ROOT}"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=PACKAGE.parent, env=environment)
    assert done.returncode == 0, done.stderr


def test_every_folder_of_the_library_is_a_room():
    assert {room(module) for module in MODULES} == ALLOWED.keys()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_its_room_and_from_what_all_share(module):
    assert {room(name) for name in imported(MODULES[module])} <= ALLOWED[room(module)]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_only_what_its_image_holds(stage):
    image = STAGES[stage].read_text().partition('@stage(image="')[2].partition('"')[0]
    rooms = {room(name) for name in imported(STAGES[stage])}
    assert image in rooms and rooms <= ALLOWED[image]


def test_no_two_modules_import_each_other():
    left = {module: imported(path) for module, path in MODULES.items()}
    while free := [module for module, names in left.items() if not names & left.keys()]:
        for module in free:
            del left[module]
    assert not left, f"modules in a circle, or that import one: {sorted(left)}"


def test_exports_need_no_kfp():
    import_without({module for module in MODULES if room(module) == "export"}, {"kfp"})


@pytest.mark.parametrize("image", slow_but(TARGETS, "results"))
def test_a_room_imports_only_packages_that_its_image_holds(image):
    modules = {module for module in MODULES if room(module) in {"", SHARED, *FOLDERS[image]}}
    import_without(modules, NOT_IN[image] | LIBROSA | {"kfp"})


def test_tagging_needs_torch_only_for_the_networks_of_a_run_and_parquet_only_to_write_it():
    import_without(
        {"commands.tag", "audiotagging.tagging.onnx_networks"}, TORCH | PLOTS | LIBROSA | {"pandas", "pyarrow", "kfp"}
    )


@pytest.mark.parametrize("name", [name for name in ONNX_COMMANDS if name != "__init__.py"])
def test_the_image_without_torch_has_every_command_module_that_it_imports(name):
    imports = [
        node for node in ast.walk(ast.parse((ROOT / "commands" / name).read_text())) if isinstance(node, ast.ImportFrom)
    ]
    needed = {node.module.replace(".", "/") for node in imports if node.module.startswith("commands.")}
    assert {f"{module.removeprefix('commands/')}.py" for module in needed} <= set(ONNX_COMMANDS)


def test_the_table_of_members_needs_only_the_standard_library():
    import_without({"audiotagging.members"}, SOUND | TORCH | PLOTS | {"numpy", "pandas", "pyarrow", "kfp"})
