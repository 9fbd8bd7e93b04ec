"""The content of the stages' images, and their names, which depend on it.

    python components/images.py TARGET                print the full reference of the image
    python components/images.py --context TARGET      write the build context to standard output, as a tar archive

An image contains the modules of the library that its stages import, directly or through others, and the packages that
are locked for it. Its tag is a hash of these files and of the Dockerfile. If no code of a stage changes, its tag stays
the same and Kubeflow can use its cached results; if the code changes, stale results are never used.

`AUDIOTAGGING_REGISTRY` is the registry of the images. If it is empty, they stay on this machine. `AUDIOTAGGING_TORCH`
is the build of torch in the images `training` and `tagging`: "cpu" (the default) or "cuda".
"""

import argparse
import ast
import hashlib
import io
import os
import re
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The library by its path in a clone, and where it is: an installed package has it elsewhere.
PACKAGE = Path("src/audiotagging")
LIBRARY = ROOT / PACKAGE if (ROOT / PACKAGE).is_dir() else ROOT.parents[1] / PACKAGE.name
if __name__ == "__main__":  # for `make`, which asks for tags before there is an environment
    sys.path.insert(0, str(LIBRARY.parent))

from audiotagging.base.import_closure import import_closure, imported_modules  # noqa: E402

TARGETS = ("data", "training", "results", "tagging")  # the images of stages
ONNX = "onnx"  # the image that tags with exported models: the command `tag`, without torch
CLIENT = "client"  # the image with the whole project, which submits runs from inside a cluster
IMAGES = (*TARGETS, ONNX, CLIENT)
WITH_TORCH = ("training", "tagging")
# What starts in an image beside its stages, which all start through the gate.
GATE = "audiotagging.base.gate"
PROGRAMS = {
    "tagging": ["audiotagging.serving.__main__"],
    ONNX: ["commands.__init__", "commands.__main__", "commands.tag"],
}
# The lists of packages in requirements/ that an image is built from, beside build.txt.
TORCH = ("torch-cpu", "torch-cuda")
PACKAGES = {
    "data": ("data",),
    "training": ("training", *TORCH),
    "results": ("results",),
    "tagging": ("training", "tagging", *TORCH),
    ONNX: ("onnx",),
}


def image(target: str, *, registry: str | None = None, torch: str | None = None) -> str:
    """Return the full reference of a target's image, `[REGISTRY/]audiotagging-TARGET:HASH`.

    Args:
        target: A target of the Dockerfile.
        registry: The registry of the image. The default is `AUDIOTAGGING_REGISTRY`.
        torch: The build of torch. The default is `AUDIOTAGGING_TORCH`.
    """
    registry = os.environ.get("AUDIOTAGGING_REGISTRY", "") if registry is None else registry
    torch = torch or os.environ.get("AUDIOTAGGING_TORCH", "cpu")
    digest = hashlib.sha256()
    for file in files(target):
        content = _source(file).read_bytes()
        digest.update(f"{file} {len(content)}\n".encode() + content)
    tag = digest.hexdigest()[:16]
    if target in WITH_TORCH:
        tag += f"-{torch}"
    return f"{registry.rstrip('/')}/audiotagging-{target}:{tag}".lstrip("/")


def relocate(reference: str, *, registry: str, torch: str) -> str:
    """Change the registry and the build of torch in a reference that `image` returned."""
    name = re.sub("-(cpu|cuda)$", f"-{torch}", reference.rpartition("/")[2])
    return f"{registry.rstrip('/')}/{name}".lstrip("/")


def context(target: str) -> bytes:
    """Return the build context of a target as a tar archive, in which all files are readable by every user.

    It has the lists of packages of all images: Docker without BuildKit builds every stage of the Dockerfile that
    is above the target.
    """
    archive = io.BytesIO()
    lists = [_name(path) for path in _all_lists()]
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for file in sorted({*files(target), *lists}):
            content = _source(file).read_bytes()
            entry = tarfile.TarInfo(file)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def files(target: str) -> list[str]:
    """Return the paths of all files in the project that a target is built from.

    Raises:
        ValueError: If there is no such target.
    """
    if target not in IMAGES:
        raise ValueError(f"expected one of the images {', '.join(IMAGES)}, found {target!r}")
    if target == CLIENT:
        code = {ROOT / "pipeline.py", *(path for name in ("commands", "components") for path in _within(ROOT / name))}
        code |= {*_within(LIBRARY)}
        lists = _all_lists()
    else:
        code = import_closure(entry_points(target), [LIBRARY, ROOT / "commands"])
        lists = [ROOT / "requirements" / f"{name}.txt" for name in ("build", *PACKAGES[target])]
    return sorted(_name(path) for path in [ROOT / "docker" / "Dockerfile", *lists, *code])


def entry_points(target: str) -> set[str]:
    """Return the modules with which an image's programs start: those that its stages import, and the gate."""
    found = {GATE, *PROGRAMS.get(target, [])}
    for path in (ROOT / "components").glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and target in _images_of(node):
                found |= imported_modules(ast.unparse(node), [LIBRARY])
    return found


def _images_of(function: ast.FunctionDef) -> list[str]:
    """Return the image in the decorator `@stage(image=...)` of a function, if it has that."""
    calls = [call for call in function.decorator_list if isinstance(call, ast.Call)]
    stages = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "stage"]
    return [ast.literal_eval(keyword.value) for call in stages for keyword in call.keywords if keyword.arg == "image"]


def _all_lists() -> list[Path]:
    """Return the lists of the packages of all images."""
    return [path for path in (ROOT / "requirements").glob("*.txt") if path.stem != "dev"]


def _name(path: Path) -> str:
    """Return the path of a file in a clone, which all machines agree on."""
    in_clone = PACKAGE / path.relative_to(LIBRARY) if path.is_relative_to(LIBRARY) else path.relative_to(ROOT)
    return in_clone.as_posix()


def _source(name: str) -> Path:
    """Return the path of a file here from its path in a clone."""
    path = Path(name)
    return LIBRARY / path.relative_to(PACKAGE) if path.is_relative_to(PACKAGE) else ROOT / path


def _within(folder: Path) -> list[Path]:
    """Return all files in a folder and its subfolders, except compiled Python files."""
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print the reference of an image, or write its build context.")
    parser.add_argument("target", choices=IMAGES)
    parser.add_argument("--context", action="store_true", help="write the build context as a tar archive")
    args = parser.parse_args()
    if args.context:
        sys.stdout.buffer.write(context(args.target))
    else:
        print(image(args.target))
