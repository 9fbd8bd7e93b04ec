import os

import pytest

from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_file, atomic_folder, remove_partial
from audiotagging.base.removal import remove_leftovers
from audiotagging.base.working_folder import MARKER


def test_a_folder_is_there_when_it_is_whole_and_replaces_what_a_killed_run_left(tmp_path):
    (tmp_path / "new.part" / "new").mkdir(parents=True)
    (tmp_path / "new.part" / "new" / "old").touch()
    (tmp_path / "new.part" / MARKER).touch()
    with atomic_folder(tmp_path / "new") as part:
        (part / "a").write_text("1")
        assert not (tmp_path / "new").exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_folder_of_somebody_else_is_never_removed(tmp_path):
    (tmp_path / "new.part").mkdir()
    (tmp_path / "new.part" / "mine").touch()
    with pytest.raises(UserError, match=r"new\.part: expected nothing of this name"), atomic_folder(tmp_path / "new"):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["new.part", "mine"]


def test_a_file_of_somebody_else_is_never_removed(tmp_path):
    (tmp_path / "file.part").write_text("mine")
    with pytest.raises(ZeroDivisionError), atomic_file(tmp_path / "file") as part:
        part.write_text("half")
        raise ZeroDivisionError
    with atomic_file(tmp_path / "file") as part:
        part.write_text("whole")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "whole", "file.part": "mine"}


@pytest.fixture
def calls(monkeypatch):
    """The calls of `os.fsync` and `os.replace`, in order, with the inodes of the files."""
    made = []

    def record(name):
        original = getattr(os, name)

        def recorded(file, *args, **kwargs):
            made.append((name, (os.fstat(file) if name == "fsync" else file.stat()).st_ino))
            return original(file, *args, **kwargs)

        monkeypatch.setattr(os, name, recorded)

    record("fsync")
    record("replace")
    return made


def test_a_file_is_on_disk_before_it_is_renamed_and_its_name_afterwards(tmp_path, calls):
    with atomic_file(tmp_path / "file") as part:
        part.write_text("whole")
    file, folder = (tmp_path / "file").stat().st_ino, tmp_path.stat().st_ino
    assert calls == [("fsync", file), ("replace", file), ("fsync", folder)]


def test_a_folder_is_on_disk_before_it_is_renamed_and_its_name_afterwards(tmp_path, calls):
    with atomic_folder(tmp_path / "new") as part:
        (part / "models" / "a").mkdir(parents=True)
        for name in ("scores", "models/one", "models/a/two"):
            (part / name).touch()
        (part / "models" / "link").symlink_to("nowhere")
    inode = {path.relative_to(tmp_path).as_posix(): path.lstat().st_ino for path in tmp_path.rglob("*")}
    before = calls[: calls.index(("replace", inode["new"]))]
    whole = set(inode.values()) - {inode["new/models/link"]}
    assert {("fsync", number) for number in whole} == set(before)
    assert calls[len(before) + 1 :] == [("fsync", tmp_path.stat().st_ino)]


@pytest.mark.parametrize("whole", [atomic_folder, atomic_file])
def test_what_fails_makes_and_replaces_nothing(tmp_path, whole):
    (tmp_path / "file").write_text("before")
    with pytest.raises(ZeroDivisionError), whole(tmp_path / "file") as partial:
        (partial / "a" if partial.is_dir() else partial).write_text("half")
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "before"


def test_a_file_replaces_another_when_it_is_whole(tmp_path):
    (tmp_path / "file").write_text("before")
    with atomic_file(tmp_path / "file") as partial:
        partial.write_text("after")
        assert (tmp_path / "file").read_text() == "before"
    assert (tmp_path / "file").read_text() == "after"


def test_what_is_left_beside_a_complete_folder_is_removed(tmp_path):
    for name in ("ours", "mine"):
        (tmp_path / f"{name}.part").mkdir()
        (tmp_path / f"{name}.part" / "file").touch()
    (tmp_path / "ours.part" / MARKER).touch()
    for name in ("ours", "mine", "nothing"):
        remove_partial(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.part"]


def test_what_is_being_written_stays_and_what_a_killed_process_left_goes(tmp_path):
    (tmp_path / MARKER).touch()
    with atomic_file(tmp_path / "file") as partial:
        remove_leftovers(tmp_path)
        assert partial.exists()
    (tmp_path / partial.name).touch()
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {MARKER, "file"}
