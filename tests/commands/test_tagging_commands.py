"""The commands with `--pipeline tagging`."""

import shlex

import pytest
from kfp.local.io import IOStore
from kfp_server_api import V2beta1Run, V2beta1RuntimeConfig

import pipeline
from audiotagging.runs.run_stages import Pod, Stage, Workflow
from commands import OF_PIPELINES, TAGGING, main, module_of, parse
from commands.cluster import following, runs
from commands.kfp_internals import Task, _resolve, _task
from commands.tagging.cluster import cluster_parameters


@pytest.mark.parametrize("command", OF_PIPELINES)
def test_the_help_explains_the_options_of_the_pipeline(capsys, command):
    with pytest.raises(SystemExit):
        main(pipeline.PIPELINES, [command, "--pipeline", TAGGING, "--help"])
    output = capsys.readouterr().out
    assert f"usage: audiotagging {command} --pipeline tagging" in output and "--folds" not in output


@pytest.mark.parametrize("command", [command for command in OF_PIPELINES if command != "compile"])
def test_the_examples_can_be_typed(command):
    examples = module_of(command, TAGGING).__doc__.partition("Examples:\n")[2].splitlines()
    lines = [line.strip() for line in examples if line.strip()]
    assert lines
    for line in lines:
        assert parse(command, shlex.split(line)[2:]).pipeline == TAGGING


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["run", "--pipeline", "tagging", "--data", "d", "--models", "m", "--out", "o", "--members", "demo"],
            "--members is an option of --pipeline training, not of --pipeline tagging",
        ),
        (
            ["run", "--data", "d", "--out", "o", "--window=2"],
            "--window is an option of --pipeline tagging, not of --pipeline training",
        ),
        (["run", "--data", "d", "--out", "o", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["run", "--pipeline", "serving", "--data", "d"], "invalid choice: 'serving'"),
        (
            ["run", "--pipeline", "tagging", "--data", "s3://b/d", "--models", "m", "--out", "o", "--docker"],
            "--docker: expected folders on this machine",
        ),
        (
            ["run", "--pipeline", "tagging", "--data", "d", "--models", "m", "--out", "o", "--top", "0"],
            "--top: expected a number of at least 1, found 0",
        ),
        (
            ["run", "--pipeline", "tagging", "--data", "d", "--models", "m", "--out", "o", "--parallel", "0"],
            "--parallel: expected a number of at least 1, found 0",
        ),
        (
            ["submit", "--pipeline", "tagging", "--data", "d", "--out", "o", "--shards", "0"],
            "--shards: expected a number of at least 1, found 0",
        ),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(capsys, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(pipeline.PIPELINES, arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], {"data": "/audio/new", "out": "/tags/night", "models": "/champions", "window": 2.0, "shards": 4}),
        (["--data", "/audio/x", "--precision", "0.9"], {"data": "/audio/x", "precision": 0.9}),
        (["--data", "s3://b/new", "--out", "gs://b/t"], {"data": "s3://b/new", "out": "gs://b/t", "precision": 0.0}),
    ],
)
def test_a_cluster_gets_the_paths_that_its_stages_see(options, expected):
    values = cluster_parameters(parse("submit", ["--pipeline", "tagging", "--data", "new", "--out", "night", *options]))
    assert values.items() >= expected.items()


def test_a_schedule_of_tags_has_a_name_of_its_own():
    options = ["--every", "1h", "--data", "new", "--out", "night"]
    assert parse("schedule", ["--pipeline", "tagging", *options]).name == "audiotagging-tagging"
    assert parse("schedule", options[:-2]).name == "audiotagging"


def test_a_condition_and_a_loop_read_the_output_of_a_stage_with_several():
    store = IOStore()
    store.put_task_output("find", "work", 2)
    store.put_parent_input("pipelinechannel--find-shards-loop-item", "1")
    assert _resolve("pipelinechannel--find-work", store) == 2
    assert _task("tag", store) == Task("tag", shard=1)


def stage(name, row=None):
    pod = Pod("p", "executor", 0, 0, "Succeeded", "", "", None, None, None)
    return Stage(name, row, "done", "", None, None, (pod,), (), "", None, {})


def run(**parameters):
    """Return a run of the pipeline."""
    parameters = {"shards": 2, "out": "/tags/night"} | parameters
    return V2beta1Run(run_id="run", runtime_config=V2beta1RuntimeConfig(parameters=parameters))


class Client:
    """Only knows where the page is."""

    def page(self, kind, identity):
        return "the page"


@pytest.mark.parametrize("last", ["find", "collect"])
def test_the_end_of_a_followed_run_is_what_its_last_stage_said(monkeypatch, last):
    stages = [stage("find"), stage("tag", 0), stage("collect")] if last == "collect" else [stage("find")]
    line = "[KFP Executor 2026-01-01 00:00:00,000 INFO]: said by {}"
    workflow = Workflow(stages=tuple(stages))
    monkeypatch.setattr(runs, "read_log", lambda client, run, workflow, stage, pod: [line.format(stage.name)])
    assert following._outcome(Client(), run(), workflow) == f"said by {last}"
    monkeypatch.setattr(runs, "read_log", lambda *_: [])
    assert "the tags are in /tags/night" in following._outcome(Client(), run(), workflow)


def test_shards_have_numbers_when_a_run_is_followed():
    progress = following.Progress([])
    assert [progress.label(stage("tag", row)) for row in (0, 1)] == ["tag 1", "tag 2"]
