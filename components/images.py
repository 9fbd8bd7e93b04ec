"""What goes into the stages' images, and their names, which tell it.

    python components/images.py TARGET                print the image's full reference
    python components/images.py --context TARGET      write what it is built from to standard output, as a tar archive

An image holds the folder of the library that has its name, and what all stages share: the modules beside the folders
and what passes between stages, in `artifacts`. Its tag is a hash of these, the lock and the Dockerfile. So a stage
whose code did not change keeps its tag, and with it what Kubeflow has cached of its results, and changed code never
meets a stale cache. `tests/test_layers.py` holds the imports to this.

`AUDIOTAGGING_REGISTRY` is where the images are pushed to and pulled from (empty: they stay on this machine).
`AUDIOTAGGING_TORCH` is the build of torch in the image `training`: "cpu" (the default) or "cuda".
"""

import argparse
import hashlib
import io
import os
import re
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGETS = ("data", "training", "results")
SHARED = "artifacts"  # the folder of the library that every image holds
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
    if target == "training":
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
    """Paths of what a target is built from, in the project: the Dockerfile, the packages' names and versions, code.

    Raises:
        ValueError: If there is no such target.
    """
    package = ROOT / "src" / "audiotagging"
    if target == CLIENT:
        code = [ROOT / "pipeline.py", *(path for name in ("commands", "components") for path in _within(ROOT / name))]
        code += _within(package)
    elif target in TARGETS:
        code = [path for path in package.iterdir() if path.is_file()]
        code += [*_within(package / SHARED), *_within(package / target)]
    else:
        raise ValueError(f"expected one of the images {', '.join((*TARGETS, CLIENT))}, found {target!r}")
    return sorted(
        [
            "docker/Dockerfile",
            "pyproject.toml",
            "constraints.txt",
            *(path.relative_to(ROOT).as_posix() for path in code),
        ]
    )


def _within(folder: Path) -> list[Path]:
    """All files in a folder and in its folders, but for what Python compiled."""
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print what an image is called, or write what it is built from.")
    parser.add_argument("target", choices=[*TARGETS, CLIENT])
    parser.add_argument("--context", action="store_true", help="write the build context, a tar archive")
    args = parser.parse_args()
    if args.context:
        sys.stdout.buffer.write(context(args.target))
    else:
        print(image(args.target))
