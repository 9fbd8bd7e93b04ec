"""Names of the stages' images: `python components/images.py TARGET` prints one.

A tag is a hash of what the image is made of: the files that the target copies, the lock and the Dockerfile. So an
unchanged stage keeps its tag, and with it what Kubeflow has cached of its results, and changed code never meets a
stale cache.

`AUDIOTAGGING_REGISTRY` is where the images are pushed to and pulled from (empty: they stay on this machine).
`AUDIOTAGGING_TORCH` is the build of torch in the image `train`: "cpu" (the default) or "cuda".
"""

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = ROOT / "docker" / "Dockerfile"
TARGETS = ("preprocess", "ensemble", "train")


def copied(target: str) -> list[Path]:
    """Files of the project that go into a target, through the Dockerfile's stages that it is built from.

    Raises:
        ValueError: If the Dockerfile has no such target.
    """
    parents: dict[str, set[str]] = {}
    sources: dict[str, set[str]] = {}
    stage = ""
    for keyword, *words in _instructions(DOCKERFILE.read_text()):
        if keyword == "FROM":
            stage = words[-1]
            parents[stage], sources[stage] = {words[0]}, set()
        elif keyword == "COPY" and words[0].startswith("--from="):
            parents[stage].add(words[0].removeprefix("--from="))
        elif keyword == "COPY":
            sources[stage].update(words[:-1])
    if target not in parents:
        raise ValueError(f"no image {target!r}: expected one of the targets of {DOCKERFILE}, {', '.join(parents)}")
    files: set[Path] = set()
    waiting = {target}
    while waiting:
        stage = waiting.pop()
        waiting |= parents.get(stage, set())
        files.update(file for source in sources.get(stage, set()) for file in _files(ROOT / source))
    return sorted(files)


def image(target: str, *, registry: str | None = None, torch: str | None = None) -> str:
    """Full reference of a target's image, `[REGISTRY/]audiotagging-TARGET:HASH`.

    Args:
        target: A target of the Dockerfile.
        registry: Where it is pulled from; `AUDIOTAGGING_REGISTRY` if not given.
        torch: The build of torch; `AUDIOTAGGING_TORCH` if not given.

    Raises:
        ValueError: If the Dockerfile has no such target.
    """
    registry = os.environ.get("AUDIOTAGGING_REGISTRY", "") if registry is None else registry
    torch = torch or os.environ.get("AUDIOTAGGING_TORCH", "cpu")
    digest = hashlib.sha256(DOCKERFILE.read_bytes())
    for file in copied(target):
        digest.update(f"\0{file.relative_to(ROOT).as_posix()}\0".encode())
        digest.update(file.read_bytes())
    tag = digest.hexdigest()[:16]
    if target == "train":
        tag += f"-{torch}"
    return f"{registry.rstrip('/')}/audiotagging-{target}:{tag}".lstrip("/")


def relocate(reference: str, *, registry: str, torch: str) -> str:
    """Return an image's reference in a registry and with a build of torch, given any reference that `image` made."""
    target = reference.rpartition("/")[2].removeprefix("audiotagging-").partition(":")[0]
    return image(target, registry=registry, torch=torch)


def _instructions(dockerfile: str) -> Iterator[list[str]]:
    """The words of each instruction, comments left out and continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile, flags=re.MULTILINE).replace("\\\n", " ")
    return (line.split() for line in text.splitlines() if line.strip())


def _files(source: Path) -> Iterator[Path]:
    """A file, or those of a folder that .dockerignore does not leave out."""
    if source.is_file():
        return iter([source])
    return (f for f in source.rglob("*") if f.is_file() and not re.search(r"__pycache__|\.egg-info", str(f)))


if __name__ == "__main__":
    print(image(sys.argv[1]))
