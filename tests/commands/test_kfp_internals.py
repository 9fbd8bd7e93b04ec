"""What is replaced in kfp and read of it is there, and does what it is for."""

import inspect
import io
import re
import threading

import kfp
import kfp_server_api
import pytest
from kfp import dsl, local
from kfp.client import client as kfp_client
from kfp.dsl import Dataset, Input, Output
from kfp.local import docker_task_handler, subprocess_task_handler

from audiotagging.base.errors import UserError
from commands import kfp_internals
from commands.kfp_internals import (
    REPLACED,
    VERSION,
    check_version,
    local_runner,
)
from commands.local.console import Console
from commands.local.containers import run_container
from commands.local.runner import StageError, run_pipeline
from commands.local.slots import Slots
from commands.local.subprocesses import run_subprocess
from components.stage import stage

ONE = Slots({}, [{}])
RUN = {"run_subprocess": run_subprocess, "run_container": run_container}


def parameters(function):
    return set(inspect.signature(function).parameters)


@pytest.mark.parametrize(("owner", "name", "reason"), REPLACED)
def test_what_is_replaced_is_there_and_is_there_again(tmp_path, owner, name, reason):
    original = getattr(owner, name)
    console = Console(io.StringIO(), tmp_path, rows=[], tasks=0, interrupted=threading.Event())
    with local_runner(console, slots=ONE, **RUN, interrupted=threading.Event()):
        replaced = getattr(owner, name)
    assert callable(original) and replaced is not original and getattr(owner, name) is original
    assert reason


def test_kfp_and_the_replacements_take_the_same():
    assert "task_name" in parameters(kfp_internals.task_executor.execute_single_task)
    for run in (docker_task_handler.run_docker_container, run_container):
        assert {"client", "image", "command", "volumes"} <= parameters(run)
    assert parameters(subprocess_task_handler.run_local_subprocess) == parameters(run_subprocess)
    assert {"max_workers", "conservative_max"} == set(vars(kfp_internals.enhanced_dag_orchestrator.ParallelExecutor()))


def test_the_client_has_what_is_read_of_it():
    assert callable(kfp.Client._get_url_prefix) and callable(kfp.Client.get_kfp_healthz)
    assert "self._healthz_api =" in inspect.getsource(kfp_client.Client.__init__)
    assert callable(kfp_server_api.ApiClient().rest_client.request)


@pytest.mark.parametrize("version", ["2.16.9", "2.18.0", "2.1.7", "3.0.0"])
def test_another_version_of_kfp_is_refused(monkeypatch, tmp_path, version):
    check_version()
    monkeypatch.setattr(kfp, "__version__", version)
    with pytest.raises(UserError, match=f"expected kfp {VERSION}, found {version}"):
        check_version()
    with pytest.raises(UserError, match=version):
        kfp_internals.Client(host="http://localhost:1")
    console = Console(io.StringIO(), tmp_path, rows=[], tasks=0, interrupted=threading.Event())
    started = local_runner(console, slots=ONE, **RUN, interrupted=threading.Event())
    with pytest.raises(UserError, match=version), started:
        pass


# A small pipeline whose stages meet, and fail.


@stage(image="data")
def first(place: Output[Dataset]):
    """Make the folder where the others meet."""
    import logging
    import os
    from pathlib import Path

    Path(place.path).write_text("here", encoding="utf-8")
    Path(f"{place.path} they meet").mkdir()
    logging.getLogger("first").info("here, slot %s", os.environ["SLOT"])


@stage(image="data")
def meet(row: dict, place: Input[Dataset]):
    """Wait until all are here; fail if one does not come."""
    import logging
    import os
    import time
    from pathlib import Path

    folder = Path(f"{place.path} they meet")
    (folder / row["id"]).touch()
    end = time.monotonic() + row["patience"]
    while not all((folder / other).exists() for other in row["others"]):
        if time.monotonic() > end:
            raise TimeoutError(f"{row['id']} is alone")
        time.sleep(0.02)
    logging.getLogger("meet").info("%s has met the others in slot %s", row["id"], os.environ["SLOT"])


@dsl.pipeline
def meeting(rows: list[dict]):
    """Let all rows meet."""
    place = first().output
    with dsl.ParallelFor(rows) as row:
        meet(row=row, place=place)


def rows(*names, patience, others):
    return [{"id": name, "fold": 0, "others": others, "patience": patience} for name in names]


@pytest.fixture
def run(tmp_path, capfd):
    """Return a function that runs the meeting here and returns what a person sees, and the log."""

    def run(rows, *, parallel, stages="stages"):
        try:
            run_pipeline(
                meeting,
                {"rows": rows},
                runner=local.SubprocessRunner(use_venv=False),
                root=tmp_path / stages,
                work=tmp_path,
                slots=Slots({"SLOT": "alone"}, [{"SLOT": str(number)} for number in range(parallel)]),
            )
        finally:
            run.seen = capfd.readouterr().out.splitlines()
        return run.seen

    return run


def test_as_many_rows_run_at_once_as_asked_for(run):
    names = ["a", "b", "c"]
    seen = run(rows(*names, patience=120, others=names), parallel=3)
    ends = [line.partition(" after")[0] for line in seen]
    assert ends[:3] == ["first ...", "  here, slot alone", "first done"]
    members = [f"member {number} of 3" for number in (1, 2, 3)]
    assert sorted(ends[3:6]) == [
        f"meet {member} ({name}), fold 0 ..." for member, name in zip(members, names, strict=True)
    ]
    messages, slots = zip(*(line.split(" in slot ") for line in sorted(ends[6:])[:3]), strict=True)
    assert list(messages) == [
        f"  {member}, fold 0: {name} has met the others" for member, name in zip(members, names, strict=True)
    ]
    assert sorted(slots) == ["0", "1", "2"]  # each its own
    assert len([end for end in ends[6:] if end.startswith("meet ") and end.endswith(" done")]) == 3
    assert seen[-1].endswith(", 4 of 4 done")


def test_a_row_gets_the_slot_that_another_has_left(run):
    seen = run(rows("a", "b", "c", "d", patience=1, others=[]), parallel=1)
    met = [line.partition(": ")[2] for line in seen if "has met" in line]
    assert met == [f"{name} has met the others in slot 0" for name in "abcd"]


def test_further_rows_wait(run):
    with pytest.raises(StageError, match=r"meet member \d of 3 \(\w\), fold 0: \w is alone"):
        run(rows("a", "b", "c", patience=1, others=["a", "b", "c"]), parallel=2)
    changes = [line.partition(", fold 0 ")[2].split()[0] for line in run.seen if line.startswith("meet ")]
    assert changes[:3] == ["...", "...", "failed"] and changes.count("...") == 3


UNCHANGED = [
    "first unchanged, taken from the cache, 1 of 2 done",
    "meet member 1 of 1 (a), fold 0 unchanged, taken from the cache, 2 of 2 done",
]


def test_what_was_done_comes_from_the_cache(run):
    run(rows("a", patience=1, others=[]), parallel=1)
    seen = run(rows("a", patience=1, others=[]), parallel=1)
    assert seen == UNCHANGED


def test_what_was_done_comes_from_a_cache_that_was_moved(run, tmp_path):
    run(rows("a", patience=1, others=[]), parallel=1)
    (tmp_path / "stages").rename(tmp_path / "moved")
    assert run(rows("a", patience=1, others=[]), parallel=1, stages="moved") == UNCHANGED


def damage_artifact(stages):
    (place,) = (path for path in stages.rglob("place") if path.is_file())
    place.write_text("elsewhere")


def damage_entry(stages):
    for entry in (stages / ".kfp_cache").glob("*.json"):
        entry.write_text("[" * 100_000)


def remove_digests(stages):
    for digests in (stages / ".kfp_cache").glob("*.sha256"):
        digests.unlink()


@pytest.mark.parametrize("damage", [damage_artifact, damage_entry, remove_digests])
def test_what_was_damaged_in_the_cache_is_made_again(run, tmp_path, damage):
    run(rows("a", patience=1, others=[]), parallel=1)
    damage(tmp_path / "stages")
    seen = run(rows("a", patience=1, others=[]), parallel=1)
    assert seen[:2] == ["first: its output in the cache is damaged, so it runs again", "first ..."]
    assert re.fullmatch(r"meet .* done after \d+ s, 2 of 2 done", seen[-1])
    seen = run(rows("a", patience=1, others=[]), parallel=1)
    assert seen == UNCHANGED


def test_a_stage_that_fails_is_named_with_its_exception(run, tmp_path):
    with pytest.raises(StageError, match=r"meet member 1 of 1 \(a\), fold 0: a is alone") as caught:
        run(rows("a", patience=0, others=["b"]), parallel=1)
    assert caught.value.kind == "error"  # TimeoutError is an error of the system
    assert "Got executor_input" in (tmp_path / "logs" / "meet-a-fold0.txt").read_text()
    assert "executor" not in (tmp_path / "log.txt").read_text() and not any("executor" in line for line in run.seen)


def test_a_defect_of_a_stage_is_called_one_and_its_traceback_is_in_the_log(run, tmp_path):
    with pytest.raises(StageError, match=r"meet .*: KeyError: 'others'; this is a defect of the program") as caught:
        run([{"id": "a", "fold": 0, "patience": 0}], parallel=1)
    assert caught.value.kind == "defect"
    log = (tmp_path / "logs" / "meet-a-fold0.txt").read_text(encoding="utf-8")
    assert "Traceback (most recent call last)" in log and 'for other in row["others"]' in log


def test_a_runner_that_fails_is_named_with_its_exception(run, monkeypatch, tmp_path):
    def break_down(**arguments):
        raise MemoryError("killed, because it needed more memory than there is")

    monkeypatch.setattr(kfp_internals.task_dispatcher, "run_single_task_implementation", break_down)
    with pytest.raises(StageError, match="first: killed, because it needed more memory than there is") as caught:
        run(rows("a", patience=0, others=[]), parallel=1)
    assert caught.value.kind == "out of memory"
    assert "break_down" in (tmp_path / "logs" / "first.txt").read_text()
