"""The folder of results is made whole or not at all, and nothing else is ever replaced."""

from argparse import Namespace

import pytest

from audiotagging.base.errors import UserError
from audiotagging.base.working_folder import MARKER
from commands.outputs import working_on
from commands.run import _gather


@pytest.fixture
def outputs(tmp_path):
    """Outputs of stages, as the local runner gives them; what they log lies beside them."""
    stages = tmp_path / "stages"
    tables = {"spectrograms": "rejected", "selection": "folds", "averaged": "submission", "audit": "suspicious"}
    for folder, name in tables.items():
        (stages / folder).mkdir(parents=True)
        (stages / folder / f"{name}.csv").touch()
    for name in ("scores", "report", "log"):
        (stages / name).touch()
    names = ("spectrograms", "selection", "averaged", "audit", "scores", "report")
    return {name: Namespace(path=stages / name) for name in names} | {"models": [], "predictions": []}


def gather(outputs, out, *, cached=False):
    with working_on(out, force=True) as work:
        (work / "log.txt").touch()
        (work / "logs").mkdir(exist_ok=True)
        _gather(outputs, out, work=work, cached=cached)


@pytest.mark.parametrize(("cached", "same"), [(True, {"spectrograms"}), (False, {"spectrograms", "selection", "csv"})])
def test_results_share_no_file_with_a_cache_but_the_spectrograms(tmp_path, outputs, cached, same):
    gather(outputs, tmp_path / "out", cached=cached)
    found = {
        path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.csv") if path.stat().st_nlink > 1
    }
    assert {path.parent.name or "csv" for path in found} == same


def test_results_replace_earlier_ones_and_what_a_killed_run_left(tmp_path, outputs):
    for name in ("out", "out.work/new", "out.work/replaced"):
        (tmp_path / name / "models" / "old").mkdir(parents=True)
        (tmp_path / name / "models" / "old" / "member.json").touch()
    (tmp_path / "out" / "scores.json").touch()
    (tmp_path / "out.work" / MARKER).touch()
    gather(outputs, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"stages", "out"}
    assert not list(tmp_path.rglob("old")) and (tmp_path / "out" / "scores.json").exists()


@pytest.mark.parametrize(
    "name",
    [
        *(
            "notes.txt",
            "models/notes.txt",
            "models/member-fold0/notes.txt",
            "models/member.json",
            "predictions/a/b.csv",
        ),
        *("spectrograms/listened.csv", "selection/mine/labels.csv", "logs/photo.png", "learning-curve/predictions.md"),
        *("student/notes.txt", "student/models/a-fold0/notes.txt", "onnx/app.py", "student/student/student.json"),
    ],
)
def test_a_file_of_the_users_anywhere_in_the_results_is_named_and_kept(tmp_path, outputs, name):
    out = tmp_path / "out"
    gather(outputs, out)
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_text("mine")
    with pytest.raises(UserError, match=f"found {name} too; move it elsewhere"):
        gather(outputs, out)
    assert (out / name).read_text() == "mine"


def test_a_link_to_a_folder_in_the_results_is_named_and_kept(tmp_path, outputs):
    gather(outputs, tmp_path / "out")
    (tmp_path / "elsewhere" / "member-fold0").mkdir(parents=True)
    (tmp_path / "elsewhere" / "member-fold0" / "member.json").touch()
    (tmp_path / "out" / "models").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="found models too"):
        gather(outputs, tmp_path / "out")
    assert (tmp_path / "out" / "models" / "member-fold0" / "member.json").exists()


def test_what_killed_commands_and_systems_leave_in_the_results_is_replaced(tmp_path, outputs):
    out = tmp_path / "out"
    gather(outputs, out)
    (out / "onnx.part" / "onnx").mkdir(parents=True)
    for name in ("onnx.part/.audiotagging", "onnx.part/onnx/half", ".DS_Store", "scores.json.0123abcd.part"):
        (out / name).touch()
    gather(outputs, out)
    assert {path.name for path in out.iterdir()} == {
        *("spectrograms", "selection", "submission.csv", "suspicious.csv", "scores.json", "report.html", "log.txt"),
        "logs",
    }


def test_results_that_a_killed_run_was_replacing_are_put_back(tmp_path):
    (tmp_path / "out.work" / "replaced").mkdir(parents=True)
    (tmp_path / "out.work" / MARKER).touch()
    (tmp_path / "out.work" / "replaced" / "scores.json").write_text("mine")
    with pytest.raises(UserError, match="exists already"), working_on(tmp_path / "out", force=False):
        pass
    assert (tmp_path / "out" / "scores.json").read_text() == "mine"
    assert not (tmp_path / "out.work").exists()


def test_results_are_not_lost_if_they_cannot_be_replaced(tmp_path, outputs, monkeypatch):
    def fail(*_):
        raise OSError("full")

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scores.json").write_text("mine")
    monkeypatch.setattr("commands.outputs.move", fail)
    with pytest.raises(OSError, match="full"):
        gather(outputs, tmp_path / "out")
    assert (tmp_path / "out" / "scores.json").read_text() == "mine"
    assert {path.name for path in (tmp_path / "out.work").iterdir()} == {MARKER, "log.txt", "logs"}
