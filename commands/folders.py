"""Checks the files and folders that a command writes, before it does anything else."""

import argparse
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path

from audiotagging.base.errors import UserError
from audiotagging.base.files import check_target


def output_file(text: str) -> Path:
    """Parse the path of a file to write, for argparse.

    Raises:
        argparse.ArgumentTypeError: If it cannot be written, or if something else than a file is there.
    """
    try:
        return check_target(Path(text))
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def with_linked(folder: Path) -> list[Path]:
    """Return a folder and the targets of the links in it, which connect data in Zenodo's layout to ours."""
    if not folder.is_dir():
        return [folder]
    return [folder, *sorted({path.resolve() for path in folder.iterdir() if path.is_symlink() and path.exists()})]


def check_folders(
    out: Path, *, work: Path, data: Path, init: Path | None = None, others: Mapping[str, Path] | None = None
) -> None:
    """Check that nothing that a command uses is where its results go, and that the data folder gets no other files.

    Args:
        out: The folder of the results, which may be replaced.
        work: Its working folder, which is removed at the end.
        data: The data folder or archive.
        init: The file or folder of weights to start with.
        others: Other folders that are used, by option: --cache, --champions and --downloads. Downloads may be in the
            data folder, and the data in the downloads.

    Raises:
        UserError: If one folder is another one or inside another one, so that something would be lost. Also if one
            of the others is a file.
    """
    others = others or {}
    used = [("--data", path) for path in with_linked(data)] + list(others.items())
    used += [("--init", init)] if init else []
    for option, path in used:
        if _within(path, [out]):
            raise UserError(f"{option} {path} is inside {out}, which the results replace; name another --out")
        if _within(path, [work]):
            raise UserError(f"{option} {path} is inside {work}, which is removed at the end; name another --out")
    for option, path in [("--out", out), ("--out", work), *others.items()]:
        if option != "--downloads" and _within(path, with_linked(data)):
            raise UserError(f"{path} is inside the data folder {data}; name another {option}")
    for option, path in others.items():
        if path.exists() and not path.is_dir():
            raise UserError(f"{option}: expected a folder, or nothing yet, found the file {path}; name another")
    for (first, one), (second, other) in combinations(others.items(), 2):
        if _within(one, [other]) and _within(other, [one]):
            raise UserError(f"{first} and {second} are both {one}; name another folder for one of them")


def _within(path: Path, folders: Iterable[Path]) -> bool:
    """Return whether a path is one of the folders or inside one, by whatever name its file system knows them."""
    existing = [folder for folder in (path, *path.parents) if folder.exists()]
    return any(
        path.is_relative_to(folder) or (folder.exists() and any(each.samefile(folder) for each in existing))
        for folder in folders
    )
