"""The sources of data: a folder, archives, a Zenodo record, a Kaggle competition, or an object store.

For every source, `resolve` returns a folder in the layout that `audiotagging.data.dataset` reads. Downloads and
unpacked archives get their names only when they are complete, and are reused afterwards.
"""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_folder, publish, remove_partial
from audiotagging.base.removal import remove_broken_link
from audiotagging.data.archives import extract, extract_tar, is_tar
from audiotagging.data.mirror import fetch, list_files, mirror
from audiotagging.data.zenodo import ZENODO, download_record, place_of
from audiotagging.sounds.formats import is_hidden

# For each folder of Kaggle's and Zenodo's editions (or archive of this name with `.zip`), its path in the data folder.
LAYOUT = {
    "train_curated": "train_curated",
    "train_noisy": "train_noisy",
    "test": "test",
    "FSDKaggle2019.audio_train_curated": "train_curated",
    "FSDKaggle2019.audio_train_noisy": "train_noisy",
    "FSDKaggle2019.audio_test": "test",
    "FSDKaggle2019.meta": ".",
}


def resolve(data: str, *, downloads: Path, zenodo: str = ZENODO) -> Path:
    """Return the folder of the data, after downloading and unpacking what is missing.

    Args:
        data: One of
            a folder in the layout, with its audio in folders or archives that have Kaggle's or Zenodo's names;
            a zip archive of such a folder;
            a tar archive of one;
            "zenodo:3612637", a Zenodo record with such archives, or another one with a public data set;
            "kaggle:freesound-audio-tagging-2019", a Kaggle competition, through Kaggle's command line;
            "s3://bucket/data", "gs://..." or "abfs://...", such a folder in an object store.
        downloads: Folder for downloads and unpacked archives.
        zenodo: URL of Zenodo.

    Raises:
        UserError: If the data do not exist or cannot be downloaded. The message says what to do by hand.
    """
    if match := re.fullmatch(r"zenodo:(\d+)", data):
        folder = downloads / f"zenodo-{match[1]}"
        download_record(match[1], folder, zenodo=zenodo)
        if not any(path.stem in LAYOUT for path in folder.glob("*.zip")):
            return _unpacked_record(match[1], folder, downloads)
    elif match := re.fullmatch(r"kaggle:([\w-]+)", data):
        folder = _unpacked(_download_from_kaggle(match[1], downloads), downloads)
    elif "://" in data:
        folder = _mirror_folder(data, downloads)
        mirror(data, folder)
    elif (Path(data).suffix == ".zip" or is_tar(Path(data))) and Path(data).is_file():
        folder = _unpacked(Path(data), downloads)
    else:
        folder = Path(data)
        if not data or not folder.is_dir():
            what = "something else" if data and folder.exists() else "missing"
            raise UserError(
                "expected a data folder, a zip or tar archive of one, zenodo:NUMBER, kaggle:NAME or a URL, "
                f"found {data!r}, which is {what}"
            )
    return _arranged(folder, downloads)


def resolve_init(init: str, *, downloads: Path) -> Path | None:
    """Return the file or folder of the weights to start with, after fetching it from an object store.

    Args:
        init: A path, the URL of a file or folder in an object store, or an empty string.
        downloads: Folder for downloads.

    Raises:
        UserError: If the store cannot be read, or if it has nothing of this name.
    """
    if "://" not in init:
        return Path(init) if init else None
    folder = _mirror_folder(init, downloads)
    files = list_files(init)
    if "" not in files:
        mirror(init, folder)
        return folder
    path = folder / PurePosixPath(files[""].info.path).name
    fetch(files[""], path)
    return path


def _mirror_folder(url: str, downloads: Path) -> Path:
    return downloads / f"mirror-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


def _unpacked(archive: Path, downloads: Path) -> Path:
    """Unpack an archive unless that has been done before, and return the folder, or the only one in it."""
    folder = downloads / f"{archive.stem}-{_state(archive, [archive])}"
    if folder.exists():
        remove_partial(folder)
    else:
        with atomic_folder(folder) as partial:
            if is_tar(archive):
                extract_tar(archive, partial)
            else:
                extract(archive, partial)
    content = [path for path in folder.iterdir() if not is_hidden(path.name)]
    return content[0] if len(content) == 1 and content[0].is_dir() else folder


def _unpacked_record(record: str, source: Path, downloads: Path) -> Path:
    """Unpack the archives of a record unless that has been done before, and return the folder."""
    archives = [path for path in sorted(source.iterdir()) if path.suffix == ".zip" or is_tar(path)]
    if not archives:
        return source
    folder = downloads / f"{source.name}-{_state(source, archives)}"
    if not folder.exists():
        with atomic_folder(folder) as partial:
            for archive in archives:
                if is_tar(archive):
                    extract_tar(archive, partial)
                else:
                    extract(archive, partial / place_of(record, archive.name))
    return folder


def _arranged(source: Path, downloads: Path) -> Path:
    """Return a folder in the layout: the source, or a folder with its unpacked archives and links to all else."""
    folders = [path for path in source.iterdir() if path.is_dir() and path.name in LAYOUT]
    archives = _archives_to_unpack(source, filled={LAYOUT[path.name] for path in folders})
    if not archives and all(path.name == LAYOUT[path.name] for path in folders):
        return source
    target = _unpacked_archives(source, archives, downloads)
    _link_the_rest(source, folders, target)
    return target


def _archives_to_unpack(source: Path, *, filled: set[str]) -> list[Path]:
    """Return the archives of a source for which the source has no folder with the content."""
    archives = [path for path in sorted(source.glob("*.zip")) if path.stem in LAYOUT]
    return [path for path in archives if LAYOUT[path.stem] not in filled]


def _unpacked_archives(source: Path, archives: Sequence[Path], downloads: Path) -> Path:
    """Unpack the archives of a source to where they belong in the layout, unless that has been done before."""
    pieces = [path for archive in archives for path in sorted(source.glob(f"{archive.stem}.z*"))]
    target = downloads / f"{source.name}-{_state(source, pieces)}"
    if target.exists():
        remove_partial(target)
    else:
        with atomic_folder(target) as partial:
            for archive in archives:
                extract(archive, partial / LAYOUT[archive.stem])
    return target


def _link_the_rest(source: Path, folders: Sequence[Path], target: Path) -> None:
    """Link everything but the archives of a source into the target. Folders get their names in the layout."""
    for path in source.iterdir():
        if path in folders and LAYOUT[path.name] == ".":
            _link(path.iterdir(), target)
        elif path in folders:
            _link([path], target, LAYOUT[path.name])
        elif not path.suffix.startswith(".z"):
            _link([path], target)


def _link(paths: Iterable[Path], folder: Path, name: str = "") -> None:
    """Link the paths into a folder, unless it has something of that name."""
    for path in paths:
        link = folder / (name or path.name)
        if not link.exists():
            remove_broken_link(link)
            link.symlink_to(path.resolve())


def _state(source: Path, paths: Iterable[Path]) -> str:
    """Return a short hash of the path of the source and of the files' paths, sizes and modification times."""
    states = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(json.dumps([str(source.resolve()), states]).encode()).hexdigest()[:12]


def _download_from_kaggle(competition: str, downloads: Path) -> Path:
    """Download the archive of a competition with Kaggle's command line, and return its path."""
    folder = downloads / f"kaggle-{competition}"
    by_hand = f"download {competition}.zip from https://www.kaggle.com/c/{competition}/data and pass it as the data"
    if not folder.exists():
        if shutil.which("kaggle") is None:
            raise UserError(
                f"kaggle:{competition} needs the program kaggle: pip install kaggle and set it up, or {by_hand}"
            )
        partial = folder.with_name(folder.name + ".part")  # kept after an interruption, so that the program can resume
        command = ["kaggle", "competitions", "download", competition, "--path", str(partial)]
        if code := subprocess.run(command).returncode:
            raise UserError(f"`{' '.join(command)}` failed with code {code}; fix what it reports above, or {by_hand}")
        publish(partial, folder)
    return folder / f"{competition}.zip"
