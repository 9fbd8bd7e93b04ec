"""A working folder is ours alone, nothing that somebody else made is removed, and an interruption loses nothing."""

import multiprocessing
import os
from functools import partial

import pytest

from audiotagging.base import working_folder as module
from audiotagging.base.errors import UserError
from audiotagging.base.working_folder import MARKER, working_folder


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_it_is_removed_at_the_end(tmp_path):
    with working_folder(tmp_path / "out.work") as work:
        (work / "deep" / "er").mkdir(parents=True)
        (work / "link").symlink_to(tmp_path)
    assert names(tmp_path) == set()


def test_it_is_kept_after_an_error_and_used_again(tmp_path):
    with pytest.raises(ZeroDivisionError), working_folder(tmp_path / "out.work") as work:
        (work / "log.txt").touch()
        raise ZeroDivisionError
    with working_folder(tmp_path / "out.work") as work:
        assert (work / "log.txt").exists()
    assert names(tmp_path) == set()


def test_nothing_is_kept_after_an_error_that_came_before_the_work(tmp_path):
    with pytest.raises(ZeroDivisionError), working_folder(tmp_path / "out.work"):
        raise ZeroDivisionError
    assert names(tmp_path) == set()


def folder_with_a_file(path):
    path.mkdir()
    (path / "mine").touch()


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (folder_with_a_file, "a folder without .audiotagging, which this program did not make"),
        (lambda path: path.touch(), "a file"),
        (lambda path: path.symlink_to(path.parent), "a link"),
        (lambda path: path.symlink_to("nowhere"), "a link"),
    ],
)
def test_what_somebody_else_made_is_refused_and_left_alone(tmp_path, make, found):
    make(tmp_path / "out.work")
    before = names(tmp_path)
    with pytest.raises(UserError) as raised, working_folder(tmp_path / "out.work"):
        pass
    assert str(raised.value).startswith(f"{tmp_path / 'out.work'}: expected nothing of this name")
    assert f"found {found}; rename it" in str(raised.value)
    assert names(tmp_path) == before


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / "out.work").mkdir()
    with working_folder(tmp_path / "out.work"):
        assert names(tmp_path) == {"out.work", f"out.work/{MARKER}"}
    assert names(tmp_path) == set()


def test_a_second_process_is_refused_and_changes_nothing(tmp_path):
    with working_folder(tmp_path / "out.work") as work:
        (work / "log.txt").touch()
        with pytest.raises(UserError, match=f"out.work is in use by process {os.getpid()} on"), working_folder(work):
            pass
        assert names(tmp_path) == {"out.work", "out.work/log.txt", f"out.work/{MARKER}"}


def test_what_is_killed_while_it_removes_the_folder_leaves_one_of_ours(tmp_path):
    """The marker goes last: what is left after any number of removals is taken over by the next process."""
    for count in range(5):
        process = multiprocessing.get_context("fork").Process(target=remove_partly, args=(tmp_path / "out.work", count))
        process.start()
        process.join()
        with working_folder(tmp_path / "out.work"):
            pass
        assert names(tmp_path) == set()


def remove_partly(path, count):
    """Be killed before the removal with this number."""
    left = iter(range(count))

    def remove(original, *args, **kwargs):
        if next(left, None) is None:
            os._exit(1)
        return original(*args, **kwargs)

    os.unlink, os.rmdir = (partial(remove, original) for original in (os.unlink, os.rmdir))
    with working_folder(path) as work:
        for name in ("a", "b"):
            (work / name).touch()


def test_a_folder_that_cannot_be_removed_is_named_and_hides_no_result(tmp_path, monkeypatch, caplog):
    def fail(path):
        raise PermissionError(13, "Permission denied")

    with working_folder(tmp_path / "out.work") as work:
        monkeypatch.setattr(module, "empty", fail)
    assert f"{work} could not be removed (Permission denied)" in caplog.text


def test_a_folder_that_another_process_has_just_removed_is_made_again(tmp_path, monkeypatch):
    original, calls = module.file_lock, []

    def removed_before(path, *, wait):
        calls.append(path)
        if len(calls) == 1:
            path.parent.rmdir()
        return original(path, wait=wait)

    monkeypatch.setattr(module, "file_lock", removed_before)
    with working_folder(tmp_path / "out.work") as work:
        assert (work / MARKER).exists()
    assert len(calls) == 2
