"""Removed is only what lies below a marked folder, on a path without links; and only one module removes."""

import ast
import fcntl
import os
from pathlib import Path

import pytest

import pipeline
from audiotagging.base.errors import UserError
from audiotagging.base.locks import LOCK
from audiotagging.base.removal import MARKER, is_marked, remove, remove_leftovers

ROOT = Path(pipeline.__file__).parent
REMOVING = {"os.remove", "unlink", "rmtree", "rmdir", "removedirs", "delete_file", "delete_dir"}
# Where something is removed that is not on this machine, was made a moment before, or is empty.
OTHERS = {
    ("removal.py", "unlink"),
    ("removal.py", "rmtree"),
    ("files.py", "unlink"),  # the temporary file of this block
    ("working_folder.py", "rmdir"),  # fails unless the folder is empty
    ("outputs.py", "rmdir"),
    ("storage.py", "delete_file"),  # in an object store
    ("checkpoints.py", "delete_file"),  # in an object store, or by the name of a checkpoint
    ("checkpoints.py", "delete_dir"),  # in an object store
}


def calls(path):
    """Yield the names of the functions and methods that a file calls, those of `os` with it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield f"os.{node.func.attr}" if ast.unparse(node.func) == "os.remove" else node.func.attr


def test_one_module_removes():
    paths = [path for part in ("src", "commands", "components") for path in (ROOT / part).rglob("*.py")]
    assert {(path.name, name) for path in paths for name in set(calls(path)) & REMOVING} == OTHERS


@pytest.fixture
def folder(tmp_path):
    """A folder of ours with a file and a folder, and somebody else's files beside it."""
    (tmp_path / "ours" / "deep" / "er").mkdir(parents=True)
    (tmp_path / "ours" / MARKER).touch()
    (tmp_path / "ours" / "deep" / "er" / "file").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")
    return tmp_path / "ours"


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_what_is_named_is_removed(folder):
    remove(folder, "deep/er/file")
    assert names(folder) == {MARKER, "deep", "deep/er"}
    remove(folder, "deep")
    remove(folder, "nothing/of/this/name")
    assert names(folder) == {MARKER}


def test_of_a_link_only_the_link_is_removed(folder):
    for name in ("deep/link", "link"):
        (folder / name).symlink_to(folder.parent / "mine")
    (folder / "hard").hardlink_to(folder.parent / "mine" / "letter")
    for name in ("deep", "link", "hard"):
        remove(folder, name)
    assert names(folder) == {MARKER} and (folder.parent / "mine" / "letter").read_text() == "dear"


def test_nothing_behind_a_link_is_removed(folder):
    (folder / "link").symlink_to(folder.parent / "mine")
    with pytest.raises(UserError, match="ours/link: expected a folder, found a link"):
        remove(folder, "link/letter")
    assert (folder.parent / "mine" / "letter").exists()


@pytest.mark.parametrize("name", ["../mine", "/etc/hostname", "deep/../../mine/letter"])
def test_nothing_outside_is_removed(folder, name):
    with pytest.raises(ValueError, match="expected a path below"):
        remove(folder, name)
    assert (folder.parent / "mine" / "letter").exists()


def link(marker):
    marker.symlink_to(marker.parent.parent / "ours" / MARKER)


def of_somebody_else(marker):
    marker.touch()
    os.chown(marker, 1234, 1234)


@pytest.mark.parametrize("name", [MARKER, LOCK])
@pytest.mark.parametrize(
    "mark", [lambda marker: None, Path.mkdir, os.mkfifo, link, pytest.param(of_somebody_else, id="of somebody else")]
)
def test_what_is_no_marker_makes_no_folder_ours(folder, name, mark):
    if mark is of_somebody_else and os.geteuid():
        pytest.skip("only root can give files away")
    mine = folder.parent / "mine"
    mark(mine / name)
    assert not is_marked(mine)
    with pytest.raises(UserError, match="expected a folder that this program made"):
        remove(mine, "letter")
    assert (mine / "letter").exists()


def test_what_killed_processes_left_is_removed_and_nothing_else(folder):
    left, kept = ["a.json.0123abcd.part", "deep/b.csv.ffffffff.part"], ["a.part", "b.0123ABCD.part", "c.0123abcd.part "]
    for name in (*left, *kept, "used.0123abcd.part"):
        (folder / name).touch()
    (folder / "d.0123abcd.part").mkdir()
    (folder / "e.0123abcd.part").symlink_to(folder.parent / "mine" / "letter")
    (folder / "link").symlink_to(folder.parent / "mine")
    (folder.parent / "mine" / "a.json.0123abcd.part").touch()
    before = names(folder.parent)
    with (folder / "used.0123abcd.part").open() as used:
        fcntl.flock(used, fcntl.LOCK_SH)
        remove_leftovers(folder)
    assert before - names(folder.parent) == {f"ours/{name}" for name in left}


def test_nothing_is_removed_from_a_folder_of_somebody_else(folder):
    (folder.parent / "mine" / "a.json.0123abcd.part").touch()
    remove_leftovers(folder.parent / "mine")
    remove_leftovers(folder.parent / "nowhere")
    assert (folder.parent / "mine" / "a.json.0123abcd.part").exists()
