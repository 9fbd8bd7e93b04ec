"""The cache of `run`: what was not used for longest goes first, nothing that a run uses, and nothing of others."""

import argparse
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kfp import dsl

from audiotagging.base.errors import UserError
from audiotagging.base.locks import LOCK, file_lock
from audiotagging.base.working_folder import MARKER
from commands.kfp_internals import CheckedCache
from commands.local.cache import cache_in_use, cache_size, prune

MIB = 2**20
OLD, NEWER = 1_000_000_000.0, 1_100_000_000.0  # seconds since the epoch, long before this run


RUNS = {f"audiotagging-2026-01-0{number}-03-04-05-123456": name for number, name in enumerate(("old", "newer", "own"))}


def key(run, stage):
    return hashlib.sha256(f"{run}-{stage}".encode()).hexdigest()


def folder_of(run):
    return next(folder for folder, name in RUNS.items() if name == run)


@pytest.fixture
def root(tmp_path):
    """A cache with the outputs of two runs, 2 MiB each, and what a failed stage has left."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / LOCK).touch()
    for run, when in (("old", OLD), ("newer", NEWER)):
        for stage in ("train", "predict"):
            add(tmp_path / "cache", run, stage, when=when)
    left = tmp_path / "cache" / folder_of("newer") / "evaluate"
    left.mkdir()
    (left / "report").write_bytes(bytes(MIB))
    (tmp_path / "cache" / ".kfp_cache" / f"{key('own', 'train')}.sha256.0f0f0f0f.part").touch()
    return tmp_path / "cache"


def add(root, run, stage, *, when=None):
    folder = root / folder_of(run) / stage
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "weights").write_bytes(bytes(MIB))
    cache = CheckedCache(str(root / ".kfp_cache"))
    cache.put(key(run, stage), {"model": dsl.Model(name="model", uri=str(folder / "model")), "score": 0.5})
    if when:
        os.utime(root / ".kfp_cache" / f"{key(run, stage)}.json", (when, when))


def kept(root):
    """The runs whose outputs are complete in the cache, and all files that belong to none of them."""
    names = {path.stem for path in (root / ".kfp_cache").glob("*.json")}
    hits = {name for name in names if CheckedCache(str(root / ".kfp_cache")).get(name)}
    assert hits == names == {path.stem for path in (root / ".kfp_cache").glob("*.sha256")}
    runs = [RUNS[path.parts[-4]] for path in root.rglob("weights")]
    assert {key(RUNS[path.parts[-4]], path.parts[-3]) for path in root.rglob("weights")} == hits
    assert not list(root.rglob("report")) and not list(root.rglob("*.part"))
    assert {path.name for path in root.iterdir() if path.name in RUNS} == {folder_of(run) for run in runs}
    return set(runs)


@pytest.mark.parametrize(
    ("size", "runs"), [(5 * MIB, {"old", "newer"}), (3 * MIB, {"newer"}), (MIB, set()), (0, set())]
)
def test_what_was_not_used_for_longest_goes_first(root, size, runs):
    prune(root, size=size, before=NEWER + 1)
    assert kept(root) == runs


def test_what_is_used_again_is_new_again(root):
    for stage in ("train", "predict"):
        assert CheckedCache(str(root / ".kfp_cache")).get(key("old", stage))
    prune(root, size=3 * MIB, before=NEWER + 1)
    assert kept(root) == {"old"}


def test_nothing_that_the_run_itself_uses_is_removed(root, caplog):
    caplog.set_level(logging.INFO)
    with cache_in_use(root, size=0):
        add(root, "own", "train")
    assert kept(root) == {"own"}
    assert "more than --cache-size, because this run uses it" in caplog.text


def test_checkpoints_of_interrupted_trainings_count_too(root):
    checkpoint = root / "checkpoints" / ("0f" * 8)
    checkpoint.mkdir(parents=True)
    (checkpoint / MARKER).touch()
    (checkpoint / "3.checkpoint").write_bytes(bytes(MIB))
    os.utime(checkpoint, (OLD - 1, OLD - 1))
    prune(root, size=5 * MIB, before=NEWER + 1)
    assert kept(root) == {"old", "newer"} and not checkpoint.exists()


def swap_entries(root):
    for kind in ("json", "sha256"):
        one, other = (root / ".kfp_cache" / f"{key('old', stage)}.{kind}" for stage in ("train", "predict"))
        one.rename(root / "aside")
        other.rename(one)
        (root / "aside").rename(other)


def swap_outputs(root):
    for name in ("weights", "more"):
        (root / folder_of("old") / "predict" / "model" / name).write_text("of another stage")
    one, other = (root / folder_of("old") / stage for stage in ("train", "predict"))
    one.rename(root / "aside")
    other.rename(one)
    (root / "aside").rename(other)


def link_a_file(root):
    path = root / folder_of("old") / "train" / "model" / "weights"
    path.rename(root.parent / "elsewhere")
    path.symlink_to(root.parent / "elsewhere")


def link_another_folder(root):
    (root / folder_of("old") / "train" / "model" / "more").symlink_to(root.parent)


def make_a_pipe(root):
    path = root / folder_of("old") / "train" / "model" / "weights"
    path.unlink()
    os.mkfifo(path)


def cut_short(root):
    os.truncate(root / folder_of("old") / "train" / "model" / "weights", 5)


@pytest.mark.parametrize(
    "poison", [swap_entries, swap_outputs, link_a_file, link_another_folder, make_a_pipe, cut_short]
)
def test_outputs_that_are_not_those_that_the_stage_wrote_are_not_taken(root, poison):
    assert CheckedCache(str(root / ".kfp_cache")).get(key("old", "train"))
    poison(root)
    assert CheckedCache(str(root / ".kfp_cache")).get(key("old", "train")) is None


def test_damaged_entries_and_their_outputs_can_be_removed(root):
    entry = root / ".kfp_cache" / f"{key('old', 'train')}.json"
    entry.write_text("[" * 100_000)
    os.utime(entry, (OLD, OLD))
    prune(root, size=0, before=NEWER + 1)
    assert kept(root) == set()


HOLDER = """
import sys
import time
from pathlib import Path
from audiotagging.base.locks import file_lock
with file_lock(Path(sys.argv[1]), shared=True):
    print("held", flush=True)
    sys.stdin.read()
"""


def files_in(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != LOCK}


def test_what_somebody_else_made_stays(root, tmp_path):
    (tmp_path / "mine").mkdir()
    for folder in (tmp_path / "mine", root, root / "checkpoints", root / ".kfp_cache", root / "my-run"):
        folder.mkdir(exist_ok=True)
        (folder / "letter.txt").write_text("dear")
    (root / "link").symlink_to(tmp_path / "mine")
    (root / folder_of("old") / "link").symlink_to(tmp_path / "mine")
    (root / "audiotagging-2026-02-02-03-04-05-123456").symlink_to(tmp_path / "mine")
    letters = {path: text for path, text in files_in(tmp_path).items() if path.name == "letter.txt"}
    prune(root, size=0, before=NEWER + 1)
    assert files_in(tmp_path) == letters and (root / "link").is_symlink()


@pytest.mark.parametrize(
    "uri", ["{outside}", "../mine", "mine", ".", "{run}/../../mine", "{run}", "{run}/link/mine", 7]
)
def test_an_entry_that_names_anything_but_outputs_removes_nothing_else(root, tmp_path, uri):
    for folder in (tmp_path / "mine", root / "mine"):
        folder.mkdir()
        (folder / "letter.txt").write_text("dear")
    (root / folder_of("newer") / "link").symlink_to(tmp_path)
    entry = root / ".kfp_cache" / f"{key('old', 'train')}.json"
    content = json.loads(entry.read_text())
    content["model"]["uri"] = str(uri).format(outside=tmp_path / "mine", run=folder_of("newer"))
    entry.write_text(json.dumps(content))
    os.utime(entry, (OLD, OLD))
    assert CheckedCache(str(root / ".kfp_cache")).get(key("old", "train")) is None
    try:
        prune(root, size=0, before=NEWER + 1)
    except UserError as error:
        assert "found a link or a file" in str(error)
    assert (tmp_path / "mine" / "letter.txt").exists() and (root / "mine" / "letter.txt").exists()


@pytest.mark.parametrize("made", [shutil.copytree, shutil.move])
def test_a_copy_is_a_cache_of_its_own(root, tmp_path, made):
    made(root, tmp_path / "copy")
    originals = files_in(root)
    outputs = CheckedCache(str(tmp_path / "copy" / ".kfp_cache")).get(key("old", "train"))
    assert outputs["model"].path == str(tmp_path / "copy" / folder_of("old") / "train" / "model")
    arguments = {"component_name": "a", "image": "b", "full_command": []}
    keys = {
        CheckedCache(str(folder / ".kfp_cache")).compute_key(
            **arguments,
            arguments={"model": dsl.Model(uri=f"{folder}/{folder_of('old')}"), "checkpoints": f"{folder}/checkpoints"},
        )
        for folder in (tmp_path / "copy", tmp_path / "cache")
    }
    assert len(keys) == 1
    prune(tmp_path / "copy", size=0, before=time.time() + 1)
    assert kept(tmp_path / "copy") == set() and files_in(root) == originals


@pytest.mark.parametrize(
    ("others", "is_same"),
    [
        ({"folder": "/copy", "downloads": "/elsewhere"}, True),
        ({"noisy_choice": {"path": "/copy/list.csv", "sha256": "1"}}, True),
        ({"noisy_choice": {"path": "/data/list.csv", "sha256": "2"}}, False),
        ({"fingerprint": "b"}, False),
        ({"verify": 0}, False),
    ],
)
def test_where_data_lie_whose_content_is_known_does_not_matter(tmp_path, others, is_same):
    given = {"fingerprint": "a", "folder": "/data", "downloads": "/downloads", "verify": 16}
    given["noisy_choice"] = {"path": "/data/list.csv", "sha256": "1"}
    cache, stage = CheckedCache(str(tmp_path / ".kfp_cache")), {"image": "b", "full_command": []}
    keys = [cache.compute_key("a", arguments=each, **stage) for each in (given, given | others)]
    assert (keys[0] == keys[1]) is is_same
    del given["fingerprint"]
    keys = [cache.compute_key("a", arguments=each, **stage) for each in (given, given | {"folder": "/copy"})]
    assert keys[0] != keys[1]


@pytest.mark.parametrize("holds", ["letter.txt", MARKER, "link"])
def test_what_is_no_cache_is_refused_and_stays(tmp_path, holds):
    folder = tmp_path / "mine"
    folder.mkdir()
    if holds == "link":
        (tmp_path / "letter").touch()
        (folder / LOCK).symlink_to(tmp_path / "letter")
    else:
        (folder / holds).touch()
    with pytest.raises(UserError, match="--cache: expected a new or an empty folder"), cache_in_use(folder, size=0):
        pass
    assert len(list(folder.iterdir())) == 1


def test_while_another_run_uses_the_cache_nothing_is_removed(root, caplog):
    caplog.set_level(logging.INFO)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": environment}
    with subprocess.Popen([sys.executable, "-c", HOLDER, root / LOCK], **pipes) as other:
        assert other.stdout.readline() == b"held\n"
        with cache_in_use(root, size=0):
            pass
        other.stdin.close()
    assert "the cache is not pruned now" in caplog.text and len(list(root.rglob("weights"))) == 4


def test_without_a_limit_nothing_is_removed(root):
    with cache_in_use(root, size=None):
        pass
    assert len(list(root.rglob("weights"))) == 4 and list(root.rglob("report"))


def test_two_may_use_a_cache_at_once(tmp_path):
    with file_lock(Path(tmp_path) / LOCK, shared=True), file_lock(Path(tmp_path) / LOCK, wait=0, shared=True):
        pass


@pytest.mark.parametrize(("text", "size"), [("20g", 20 * 2**30), ("512m", 512 * MIB), ("0", 0)])
def test_sizes_have_units(text, size):
    assert cache_size(text) == size


@pytest.mark.parametrize("text", ["many", "", "-1", "-5g", "1x"])
def test_other_sizes_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a size such as 20g or 500m"):
        cache_size(text)
