"""What goes into the stages' images, and their names, which tell it.

    python components/images.py TARGET                print the image's full reference
    python components/images.py --context TARGET      write what it is built from to standard output, as a tar archive

An image holds the modules that its stages import, directly or not, and no others. Its tag is a hash of these, the lock
and the Dockerfile. So an unchanged stage keeps its tag, and with it what Kubeflow has cached of its results, and
changed code never meets a stale cache.

`AUDIOTAGGING_REGISTRY` is where the images are pushed to and pulled from (empty: they stay on this machine).
`AUDIOTAGGING_TORCH` is the build of torch in the image `train`: "cpu" (the default) or "cuda".
"""

import argparse
import ast
import hashlib
import io
import os
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGETS = ("preprocess", "ensemble", "train")
CLIENT = "client"  # the whole project, which submits from inside a cluster


def image(target: str, *, registry: str | None = None, torch: str | None = None) -> str:
    """Full reference of a target's image, `[REGISTRY/]audiotagging-TARGET:HASH`.

    Args:
        target: A target of the Dockerfile.
        registry: Where it is pulled from; `AUDIOTAGGING_REGISTRY` if not given.
        torch: The build of torch; `AUDIOTAGGING_TORCH` if not given.
    """
    registry = os.environ.get("AUDIOTAGGING_REGISTRY", "") if registry is None else registry
    torch = torch or os.environ.get("AUDIOTAGGING_TORCH", "cpu")
    digest = hashlib.sha256()
    for file in files(target):
        content = (ROOT / file).read_bytes()
        digest.update(f"{file} {len(content)}\n".encode() + content)
    tag = digest.hexdigest()[:16]
    if target == "train":
        tag += f"-{torch}"
    return f"{registry.rstrip('/')}/audiotagging-{target}:{tag}".lstrip("/")


def relocate(reference: str, *, registry: str, torch: str) -> str:
    """Return the reference of an image that `image` named, in another registry and with another build of torch."""
    name = re.sub("-(cpu|cuda)$", f"-{torch}", reference.rpartition("/")[2])
    return f"{registry.rstrip('/')}/{name}".lstrip("/")


def context(target: str) -> bytes:
    """Return a tar archive of what a target is built from, readable by every user, whatever the files' modes here."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for file in files(target):
            content = (ROOT / file).read_bytes()
            entry = tarfile.TarInfo(file)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def files(target: str) -> list[str]:
    """Paths of what a target is built from, in the project: the Dockerfile, the packages' names and versions, code."""
    package = ROOT / "src" / "audiotagging"
    if target == CLIENT:
        folders = [ROOT / "commands", ROOT / "components", package]
        code = [ROOT / "pipeline.py", *(path for folder in folders for path in folder.glob("*.*"))]
    else:
        code = [path for module in modules(target) for path in package.glob(f"{module}.*")]
    return sorted(
        [
            "docker/Dockerfile",
            "pyproject.toml",
            "constraints.txt",
            *(path.relative_to(ROOT).as_posix() for path in code),
        ]
    )


def modules(target: str) -> set[str]:
    """Names of the library's modules that the stages of an image import, directly or not.

    Raises:
        ValueError: If no stage runs in such an image.
    """
    stages = [path for path in (ROOT / "components").glob("*.py") if f'@stage(image="{target}")' in path.read_text()]
    if not stages:
        raise ValueError(f"no stage runs in an image {target!r}; the images are {', '.join(TARGETS)}")
    found = {"__init__"}
    waiting = {module for path in stages for module in _imports(path)}
    while waiting:
        module = waiting.pop()
        found.add(module)
        waiting |= set(_imports(ROOT / "src" / "audiotagging" / f"{module}.py")) - found
    return found


def _imports(path: Path) -> Iterator[str]:
    """Names of the library's modules that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
        elif isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        else:
            continue
        for name in names:
            package, _, module = name.partition(".")
            if package == "audiotagging" and (ROOT / "src" / "audiotagging" / f"{module}.py").is_file():
                yield module


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print what an image is called, or write what it is built from.")
    parser.add_argument("target", choices=[*TARGETS, CLIENT])
    parser.add_argument("--context", action="store_true", help="write the build context, a tar archive")
    args = parser.parse_args()
    if args.context:
        sys.stdout.buffer.write(context(args.target))
    else:
        print(image(args.target))
