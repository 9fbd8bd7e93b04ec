import os
import pickle

import pytest
import torch
from pyarrow.fs import FileSelector, FileType

from audiotagging.base.errors import UserError
from audiotagging.training import checkpoints as module
from audiotagging.training.checkpoints import Checkpoints, run_checkpoints

IDENTITY = {"member id": "m", "lr": 0.01, "warm start": None}


@pytest.fixture(params=["folder", "S3"])
def uri(request, tmp_path):
    if request.param == "folder":
        return str(tmp_path / "checkpoints" / "m")
    request.getfixturevalue("s3")
    return "s3://bucket/checkpoints/m"


def names(checkpoints):
    return sorted(info.base_name for info in checkpoints.files.get_file_info(FileSelector(checkpoints.folder)))


def read(checkpoints, path):
    with checkpoints.files.open_input_stream(path) as file:
        return file.read()


def write(checkpoints, path, content):
    with checkpoints.files.open_output_stream(path) as file:
        file.write(content)


def test_state_survives(uri):
    state = {"weights": {"a": torch.rand(3, 2)}, "history": [{"epoch": 1, "lwlrap": 0.5}], "random": None}
    Checkpoints(uri, identity=IDENTITY).write(7, state)
    read = Checkpoints(uri, identity=IDENTITY).latest()
    assert torch.equal(read["weights"]["a"], state["weights"]["a"])
    assert read["history"] == state["history"] and read["random"] is None


def test_newest_two_are_kept(uri):
    checkpoints = Checkpoints(uri, identity=IDENTITY)
    assert checkpoints.latest() is None
    for step in (900, 1000, 1100):
        checkpoints.write(step, {"step": step})
    assert names(checkpoints) == ["000001000.checkpoint", "000001100.checkpoint"]
    assert checkpoints.latest() == {"step": 1100}


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-100],
        lambda content: content[:-1],
        lambda content: content[:10],
        lambda content: b"",
        lambda content: content[:500] + bytes([content[500] ^ 1]) + content[501:],
        lambda content: content + b"more",
        lambda content: bytes(len(content)),
    ],
)
def test_a_corrupt_checkpoint_is_ignored(uri, caplog, damage):
    checkpoints = Checkpoints(uri, identity=IDENTITY)
    for step in (1, 2):
        checkpoints.write(step, {"step": step})
    paths = [f"{checkpoints.folder}/00000000{step}.checkpoint" for step in (1, 2)]
    write(checkpoints, paths[1], damage(read(checkpoints, paths[1])))
    assert checkpoints.latest() == {"step": 1}
    assert "000000002.checkpoint, which is corrupt" in caplog.text
    write(checkpoints, paths[0], damage(read(checkpoints, paths[0])))
    assert checkpoints.latest() is None
    assert "000000001.checkpoint, which is corrupt" in caplog.text


def test_a_folder_is_no_checkpoint(tmp_path):
    checkpoints = Checkpoints(str(tmp_path), identity=IDENTITY)
    checkpoints.write(1, {"step": 1})
    (tmp_path / "000000002.checkpoint").mkdir()
    assert checkpoints.latest() == {"step": 1}


def test_a_checkpoint_that_was_not_finished_does_not_count(uri):
    checkpoints = Checkpoints(uri, identity=IDENTITY)
    checkpoints.write(1, {"step": 1})
    write(checkpoints, f"{checkpoints.folder}/000000002.checkpoint.part", b"half of")
    assert checkpoints.latest() == {"step": 1}


@pytest.mark.parametrize("name, value", [("member id", "n"), ("lr", 0.02), ("warm start", "a hash")])
def test_another_runs_checkpoint_is_refused(uri, name, value):
    Checkpoints(uri, identity=IDENTITY | {name: value}).write(1, {})
    message = f"000000001.checkpoint: expected a checkpoint with {name} .*, found {value!r}; delete it"
    with pytest.raises(UserError, match=message):
        Checkpoints(uri, identity=IDENTITY).latest()


def test_a_run_has_checkpoints_of_its_own_which_are_kept_until_it_is_done(uri):
    with pytest.raises(KeyboardInterrupt), run_checkpoints(uri, identity={"seed": 1}) as interrupted:
        interrupted.write(1, {"step": 1})
        raise KeyboardInterrupt
    with run_checkpoints(uri, identity={"seed": 2}) as other:
        assert other.latest() is None
    with run_checkpoints(uri, identity={"seed": 1}) as again:
        assert again.folder == interrupted.folder != other.folder and again.latest() == {"step": 1}
    assert again.latest() is None and again.files.get_file_info(again.folder).type == FileType.NotFound


def test_a_second_process_does_not_touch_the_checkpoints_of_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WAIT", 0)
    root = str(tmp_path)
    with run_checkpoints(root, identity={"seed": 1}) as kept:
        kept.write(1, {"step": 1})
        with (
            pytest.raises(UserError, match=f"is in use by process {os.getpid()} on"),
            run_checkpoints(root, identity={"seed": 1}),
        ):
            pass
        assert kept.latest() == {"step": 1}
        with run_checkpoints(root, identity={"seed": 2}):
            pass


def test_a_checkpoint_is_on_disk_before_it_counts(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        call = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, call=call: calls.append(name) or call(*args))
    Checkpoints(str(tmp_path), identity=IDENTITY).write(1, {"step": 1})
    assert calls == ["fsync", "replace", "fsync"]


def test_a_run_finds_its_folder_however_its_settings_are_ordered_and_the_root_is_written(uri):
    with run_checkpoints(uri, identity={"seed": 1, "fold": 2}) as one:
        pass
    with run_checkpoints(uri + "/", identity={"fold": 2, "seed": 1}) as other:
        pass
    assert one.folder == other.folder and "//" not in other.folder


def test_a_checkpoint_runs_no_code(uri):
    class Code:
        def __reduce__(self):
            return exec, ("raise SystemExit('this was run')",)

    checkpoints = Checkpoints(uri, identity=IDENTITY)
    checkpoints.write(1, {"code": Code()})
    with pytest.raises(pickle.UnpicklingError):
        checkpoints.latest()


def test_a_run_may_do_without_checkpoints():
    with run_checkpoints("", identity={}) as kept:
        assert kept is None
