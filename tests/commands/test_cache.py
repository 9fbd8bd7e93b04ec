"""The cache of `run`: what was not used for longest goes first, and nothing that a run uses."""

import argparse
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from kfp import dsl

from audiotagging.locks import LOCK, file_lock
from commands.kfp_internals import CheckedCache
from commands.local.cache import cache_in_use, cache_size, prune

MIB = 2**20
OLD, NEWER = 1_000_000_000.0, 1_100_000_000.0  # seconds since the epoch, long before this run


@pytest.fixture
def root(tmp_path):
    """A cache with the outputs of three runs, 2 MiB each, and what a failed stage has left."""
    for run, when in (("old", OLD), ("newer", NEWER)):
        for stage in ("train", "predict"):
            add(tmp_path, run, stage, when=when)
    (tmp_path / "newer" / "evaluate").mkdir()
    (tmp_path / "newer" / "evaluate" / "report").write_bytes(bytes(MIB))
    return tmp_path


def add(root, run, stage, *, when=None):
    folder = root / run / stage
    folder.mkdir(parents=True)
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_bytes(bytes(MIB))
    cache = CheckedCache(str(root / ".kfp_cache"))
    cache.put(f"{run}-{stage}", {"model": dsl.Model(name="model", uri=str(folder / "model")), "score": 0.5})
    if when:
        os.utime(root / ".kfp_cache" / f"{run}-{stage}.json", (when, when))


def kept(root):
    """The runs whose outputs are complete in the cache, and all files that belong to none of them."""
    names = {path.stem for path in (root / ".kfp_cache").glob("*.json")}
    hits = {name for name in names if CheckedCache(str(root / ".kfp_cache")).get(name)}
    assert hits == names == {path.stem for path in (root / ".kfp_cache").glob("*.sha256")}
    weights = {f"{path.parts[-4]}-{path.parts[-3]}" for path in root.rglob("weights")}
    assert weights == hits and not list(root.rglob("report"))
    return {name.split("-")[0] for name in names}


@pytest.mark.parametrize(
    ("size", "runs"), [(5 * MIB, {"old", "newer"}), (3 * MIB, {"newer"}), (MIB, set()), (0, set())]
)
def test_what_was_not_used_for_longest_goes_first(root, size, runs):
    prune(root, size=size, before=NEWER + 1)
    assert kept(root) == runs


def test_what_is_used_again_is_new_again(root):
    for stage in ("train", "predict"):
        assert CheckedCache(str(root / ".kfp_cache")).get(f"old-{stage}")
    prune(root, size=3 * MIB, before=NEWER + 1)
    assert kept(root) == {"old"}


def test_nothing_that_the_run_itself_uses_is_removed(root, caplog):
    caplog.set_level(logging.INFO)
    with cache_in_use(root, size=0):
        add(root, "own", "train")
    assert kept(root) == {"own"}
    assert "more than --cache-size, because this run uses it" in caplog.text


def test_checkpoints_of_interrupted_trainings_count_too(root):
    checkpoint = root / "checkpoints" / "0f"
    checkpoint.mkdir(parents=True)
    (checkpoint / "3.checkpoint").write_bytes(bytes(MIB))
    os.utime(checkpoint, (OLD - 1, OLD - 1))
    prune(root, size=5 * MIB, before=NEWER + 1)
    assert kept(root) == {"old", "newer"} and not checkpoint.exists()


def test_damaged_entries_and_their_outputs_can_be_removed(root):
    entry = root / ".kfp_cache" / "old-train.json"
    entry.write_text("[" * 100_000)
    os.utime(entry, (OLD, OLD))
    prune(root, size=0, before=NEWER + 1)
    assert kept(root) == set()


HOLDER = """
import sys
from pathlib import Path
from audiotagging.locks import file_lock
with file_lock(Path(sys.argv[1]), shared=True):
    print("held", flush=True)
    sys.stdin.read()
"""


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
