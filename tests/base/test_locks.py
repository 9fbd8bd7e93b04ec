"""A second process is kept out and told who is in, whatever became of the first."""

import errno
import fcntl
import multiprocessing
import os
import signal
import socket
import time

import pytest

from audiotagging.base import locks
from audiotagging.base.errors import UserError
from audiotagging.base.locks import file_lock

CONTEXT = multiprocessing.get_context("fork")


def hold(path, connection):
    with file_lock(path):
        connection.send("locked")
        connection.recv()


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock until something is sent to it."""
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=hold, args=(tmp_path / "lock", theirs), daemon=True)
    process.start()
    assert ours.recv() == "locked"
    process.connection = ours
    yield process
    process.kill()
    process.join()


def test_who_comes_second_is_told_who_came_first(tmp_path, holder):
    message = rf"{tmp_path} is in use by process {holder.pid} on {socket.gethostname()}; wait until"
    with pytest.raises(UserError, match=message), file_lock(tmp_path / "lock", wait=0):
        pass


@pytest.mark.parametrize("end", [lambda holder: holder.connection.send("end"), lambda holder: holder.kill()])
def test_who_waits_gets_the_lock_when_the_other_ends(tmp_path, holder, caplog, monkeypatch, end):
    def sleep(seconds):
        end(holder)
        holder.join()

    monkeypatch.setattr(locks.time, "sleep", sleep)
    with caplog.at_level("INFO"), file_lock(tmp_path / "lock"):
        assert str(os.getpid()) in (tmp_path / "lock").read_text()
    assert f"waiting for process {holder.pid} on" in caplog.text


def test_a_lock_in_the_same_process_counts_too(tmp_path):
    with (
        file_lock(tmp_path / "lock"),
        pytest.raises(UserError, match="is in use"),
        file_lock(tmp_path / "lock", wait=0),
    ):
        pass
    with file_lock(tmp_path / "lock", wait=0):
        pass


def test_a_forked_process_does_not_keep_the_lock(tmp_path):
    with file_lock(tmp_path / "lock"):
        forked = CONTEXT.Process(target=time.sleep, args=(600,), daemon=True)
        forked.start()
    try:
        with file_lock(tmp_path / "lock", wait=0):
            pass
    finally:
        os.kill(forked.pid, signal.SIGKILL)


def test_a_file_that_is_removed_is_locked_by_nobody(tmp_path, monkeypatch):
    """Who held the lock removes the file after the other has opened it: the lock of the new file counts."""
    flock = fcntl.flock
    removed = []

    def remove_first(file, operation):
        if not removed:
            removed.append((tmp_path / "lock").unlink())
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with file_lock(tmp_path / "lock"):
        assert str(os.getpid()) in (tmp_path / "lock").read_text()
    assert removed


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_volume_without_locks_is_named_and_used(tmp_path, monkeypatch, caplog, number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    with file_lock(tmp_path / "lock"):
        pass
    assert f"{tmp_path}: this volume has no locks" in caplog.text


def test_another_error_is_not_hidden(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output"), file_lock(tmp_path / "lock"):
        pass


def link(path):
    (path.parent / "mine").write_text("dear")
    path.symlink_to(path.parent / "mine")


def hard_link(path):
    (path.parent / "mine").write_text("dear")
    path.hardlink_to(path.parent / "mine")


def link_to_nothing(path):
    path.symlink_to(path.parent / "nothing")


@pytest.mark.parametrize("make", [link, hard_link, link_to_nothing, os.mkfifo, os.mkdir])
def test_what_somebody_put_in_its_place_is_refused_and_stays(tmp_path, make):
    make(tmp_path / "lock")
    before = {path.name: path.is_file() and path.read_text() for path in tmp_path.iterdir()}
    with (
        pytest.raises(UserError, match="lock: expected nothing of this name, or the file"),
        file_lock(tmp_path / "lock"),
    ):
        pytest.fail("it is locked")
    assert {path.name: path.is_file() and path.read_text() for path in tmp_path.iterdir()} == before
