"""`results`: what a run on a cluster made, brought here. The workflows are those of real runs."""

import json
from dataclasses import replace

import pytest
from helpers.background import running
from helpers.fabricated import fabricate_run, finish_run
from helpers.page_server import PageServer
from helpers.workflows import changed, copied, recorded

import pipeline
from audiotagging.base import object_store
from audiotagging.members import DEMO
from audiotagging.runs.argo import parse_workflow
from commands import kfp_internals, main
from commands.cluster import outputs

RUN = "10402d41-98b6-4f62-a7a6-b6a3bd20cdb5"
LATER, EARLY = "2" + RUN[1:], "3" + RUN[1:]
MEMBERS = [member for member in DEMO if member.id in ("demo-xresnet18ssa-focal", "demo-xresnet18ssa-bce")]


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ensemble_from_the_cache(workflow):
    """Return the workflow as it is when the stage `ensemble` takes its output from an earlier run."""
    nodes = {
        key: node
        for key, node in workflow["status"]["nodes"].items()
        if ".ensemble(0).executor(" not in node["name"] and ".ensemble-driver" not in node["name"]
    }
    return changed(copied(workflow, nodes), ".ensemble(0).executor", phase="Skipped", type="Skipped")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The results of a run as they are here."""
    out = fabricate_run(tmp_path_factory.mktemp("run") / "out", members=MEMBERS, folds=(-1,), clips=12)
    finish_run(out)
    for file in (out / "averaged").iterdir():
        file.unlink()
    return out


@pytest.fixture
def page(s3, finished, monkeypatch, tmp_path):
    """A page's server with the run that was recorded, whose outputs in the store are those of the finished run."""
    stages = {(stage.name, stage.row): stage for stage in parse_workflow(recorded("retried")).stages}
    outputs = [("preprocess", None, "spectrograms", "spectrograms"), ("select", None, "selection", "selection")]
    outputs += [("evaluate", None, "scores", "scores.json"), ("evaluate", None, "report", "report.html")]
    outputs += [("ensemble", None, "averaged", each) for each in ("submission.csv", "ensemble.json")]
    outputs += [("ensemble", None, "averaged", "predictions.parquet")]
    for row, member in enumerate(MEMBERS):
        outputs += [("train", row, "model", f"models/{member.id}-fold-1")]
        outputs += [("predict", row, "predictions", f"predictions/{member.id}-fold-1.parquet")]
    s3.client.create_bucket(Bucket="mlpipeline")
    for stage, row, name, place in outputs:
        (uri,) = stages[stage, row].outputs[name]
        source, key = finished / place, uri.removeprefix("minio://mlpipeline/")
        if name == "averaged":
            s3.client.put_object(Bucket="mlpipeline", Key=f"{key}/{place}", Body=source.read_bytes())
        elif source.is_dir():
            s3.put(source, key, bucket="mlpipeline")
        else:
            s3.client.put_object(Bucket="mlpipeline", Key=key, Body=source.read_bytes())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(kfp_internals.kfp.Client, "_LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))
    with running(PageServer(s3)) as server:
        server.workflows[RUN] = recorded("retried")
        yield server


@pytest.fixture
def results(page, call, tmp_path):
    """Return a function that brings results here, and returns the exit code, what it printed, and the folder."""

    def run(*options, run_id=RUN):
        code, out, error = call("results", run_id, "--out", str(tmp_path / "here"), *options, host=page.url)
        return code, out, error, tmp_path / "here"

    return run


@pytest.mark.parametrize("way", ["page", "store"])
def test_the_results_are_those_of_the_run(results, page, s3, finished, way):
    code, out, error, here = results(*(["--s3-endpoint", s3.url] if way == "store" else []))
    assert code == 0, error
    assert tree(here) == tree(finished)
    for word in ("lwlrap", "ensemble", "demo-xresnet18ssa-bce", str(here / "report.html")):
        assert word in out


def test_what_is_in_googles_store_comes_from_there(results, page, finished, monkeypatch):
    page.workflows[RUN] = json.loads(json.dumps(recorded("retried")).replace("minio://", "gs://"))
    page.is_page = False
    monkeypatch.setitem(object_store._OPENERS, "gs", object_store._OPENERS["s3"])  # an S3 server stands in for it
    code, _, error, here = results()
    assert code == 0, error
    assert tree(here) == tree(finished)


def test_the_spectrograms_can_be_left_out_and_are_missed_by_name(results, finished, capsys):
    code, out, error, here = results("--no-spectrograms")
    assert code == 0, error
    assert tree(here) == {name: file for name, file in tree(finished).items() if not name.startswith("spectrograms/")}
    assert str(here / "spectrograms") not in out
    for command in (["evaluate", here], ["compare", here, finished]):
        assert main(pipeline.PIPELINES, [str(word) for word in command]) == 2
        assert f"{here}: expected the output of a run, found no spectrograms in it" in capsys.readouterr().err


def test_what_a_run_took_from_the_cache_is_found_at_the_run_that_made_it(results, page, finished):
    page.workflows[LATER] = ensemble_from_the_cache(recorded("retried"))
    code, _, error, here = results(run_id=LATER)
    assert code == 0, error
    assert tree(here) == tree(finished)

    del page.workflows[RUN]
    code, _, error, _ = results("--force", run_id=LATER)
    assert code == 2 and f"and run {RUN}, which made it, is gone" in error
    assert tree(here) == tree(finished)


def test_an_artifact_that_breaks_off_is_fetched_again(results, page, finished):
    page.cuts = 2
    code, _, error, here = results()
    assert code == 0, error
    assert tree(here) == tree(finished)


def test_nothing_is_left_of_what_breaks_off_again_and_again(results, page, tmp_path):
    page.cuts = 1000
    code, _, error, here = results()
    assert code == 2 and "was interrupted 3 times" in error and error.count("\n") == 1
    assert not here.exists() and not here.with_name("here.part").exists()


def test_an_artifact_that_is_gone(results, s3):
    (key,) = [key for key in s3.files(bucket="mlpipeline") if key.endswith("/report")]
    s3.client.delete_object(Bucket="mlpipeline", Key=key)
    code, _, error, here = results()
    assert code == 2 and f"minio://mlpipeline/{key} is gone from the store" in error and not here.exists()


def test_a_member_whose_name_is_a_path_is_refused(results, page, tmp_path):
    page.workflows[RUN] = json.loads(json.dumps(page.workflows[RUN]).replace(MEMBERS[0].id, "../../x"))
    code, _, error, here = results()
    assert code == 2 and "expected the id of a member, found '../../x'" in error and not here.exists()
    assert {path.name for path in tmp_path.iterdir()} <= {"context.json"}


def test_the_servers_of_the_api_hand_out_no_artifacts(results, page):
    page.is_page = False
    code, _, error, _ = results()
    assert code == 2 and "use --host with the address of Kubeflow's page" in error


def test_a_run_that_has_no_results_yet(results, page):
    nodes = recorded("retried")["status"]["nodes"]
    early = {key: node for key, node in nodes.items() if ".evaluate" not in node["name"]}
    page.workflows[EARLY] = copied(recorded("retried"), early)
    code, _, error, here = results(run_id=EARLY)
    assert code == 2 and "expected the stage evaluate to be done, found it not started" in error and not here.exists()


def test_results_are_replaced_only_when_that_is_wanted(results, finished):
    here = results()[3]
    (here / "submission.csv").write_text("mine")
    code, _, error, _ = results()
    assert code == 2 and "exists already" in error and (here / "submission.csv").read_text() == "mine"
    assert results("--force")[0] == 0
    assert tree(here) == tree(finished)


@pytest.mark.parametrize(("fold", "names"), [(0, {"audit"}), (-1, set())])
def test_the_audit_is_looked_for_if_folds_were_held_out(monkeypatch, fold, names):
    workflow = parse_workflow(recorded("retried"))
    stages = []
    for stage in workflow.stages:
        if stage.name == "evaluate":  # the recorded run is older than the output, and has no folds
            given = json.loads(json.dumps(stage.executor_input).replace('"fold": -1', f'"fold": {fold}'))
            given["outputs"]["artifacts"]["audit"] = {"artifacts": [{"uri": "minio://mlpipeline/audit"}]}
            stage = replace(stage, executor_input=given)
        stages.append(stage)
    monkeypatch.setattr(outputs, "read_workflow", lambda *_: replace(workflow, stages=stages))
    found = outputs.find_outputs(None, RUN)
    assert {name for name in found if name == "audit"} == names
    assert all(f"fold{fold}" in name for name in found if name.startswith("models/"))
