"""The compiled pipeline, and one small run of it."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from helpers.browser import check_page
from kfp import compiler

import pipeline
from audiotagging.artifacts.excerpts import read_excerpts
from audiotagging.demo import CLASSES, RATE, write_dataset
from audiotagging.members import DEMO, LINEAR_MEMBER
from audiotagging.statistics.metrics import lwlrap
from commands.outputs import check_out
from components.images import image
from docs.pictures import CHROMIUM

IMAGES = {
    "ingest": "data",
    "preprocess": "data",
    "select": "training",
    "train": "training",
    "predict": "training",
    "ensemble": "results",
    "rescore": "training",
    "promote": "results",
    "evaluate": "results",
    "conclude": "results",
}
TAGGING_IMAGES = dict.fromkeys(("find", "tag", "collect"), "tagging")


def compiled(graph, folder):
    path = folder / "p.yaml"
    compiler.Compiler().compile(graph, str(path))
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    return compiled(pipeline.audiotagging, tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="module")
def tagging(tmp_path_factory):
    return compiled(pipeline.tagging, tmp_path_factory.mktemp("compiled"))


def producers(task):
    """Return the names of the tasks whose outputs a task takes."""
    inputs = task.get("inputs", {})
    sources = [*inputs.get("artifacts", {}).values(), *inputs.get("parameters", {}).values()]
    outputs = [source.get("taskOutputArtifact") or source.get("taskOutputParameter") for source in sources]
    return {output["producerTask"] for output in outputs if output}


def condition_of(spec):
    """Return the name, the task and the inner tasks of the condition."""
    tasks = spec["root"]["dag"]["tasks"]
    (name,) = [name for name, task in tasks.items() if "triggerPolicy" in task]
    return name, tasks[name], spec["components"][tasks[name]["componentRef"]["name"]]["dag"]["tasks"]


def loop_of(spec):
    """Return the name, the task and the inner tasks of the loop, which is in the condition."""
    _, _, tasks = condition_of(spec)
    (name,) = [name for name in tasks if "parameterIterator" in tasks[name]]
    return name, tasks[name], spec["components"][tasks[name]["componentRef"]["name"]]["dag"]["tasks"]


def condition_text(task):
    return " ".join(task["triggerPolicy"]["condition"].split())


def test_the_edges_are_those_of_the_picture(spec):
    condition, condition_task, tasks = condition_of(spec)
    loop, loop_task, inner = loop_of(spec)
    outer = spec["root"]["dag"]["tasks"]
    assert set(outer) == {"ingest", condition}
    assert producers(outer["ingest"]) == set()
    assert producers(condition_task) == {"ingest"}
    assert condition_text(condition_task) == "int(inputs.parameter_values['pipelinechannel--ingest-work']) > 0"
    assert set(tasks) == {"preprocess", "select", loop, "ensemble", "rescore", "promote", "evaluate", "conclude"}
    assert producers(tasks["select"]) == {"preprocess"}
    assert producers(loop_task) == {"preprocess", "select"}
    assert set(inner) == {"train", "predict"}
    assert producers(inner["predict"]) == {"train"}
    assert producers(tasks["ensemble"]) == {"preprocess", loop}
    assert producers(tasks["rescore"]) == {"preprocess", "ensemble"}
    assert producers(tasks["promote"]) == {"preprocess", "select", "ensemble", "rescore", loop}
    assert producers(tasks["evaluate"]) == {"preprocess", "select", "ensemble", "promote", loop}
    assert tasks["conclude"]["dependentTasks"] == ["evaluate"]


def test_the_loop_goes_over_the_rows_all_at_once(spec):
    _, loop, _ = loop_of(spec)
    assert loop["parameterIterator"]["items"] == {"inputParameter": "pipelinechannel--rows"}
    assert "iteratorPolicy" not in loop


def test_sounds_are_tagged_in_a_loop_over_shards_if_there_are_any(tagging):
    condition, task, inner = condition_of(tagging)
    assert set(tagging["root"]["dag"]["tasks"]) == {"find", condition} and producers(task) == {"find"}
    assert condition_text(task) == "int(inputs.parameter_values['pipelinechannel--find-work']) > 0"
    (loop,) = [name for name, task in inner.items() if "parameterIterator" in task]
    assert set(inner) == {loop, "collect"} and producers(inner["collect"]) == {loop}
    assert inner[loop]["parameterIterator"]["items"] == {"inputParameter": "pipelinechannel--find-shards"}
    assert set(tagging["components"][inner[loop]["componentRef"]["name"]]["dag"]["tasks"]) == {"tag"}


@pytest.mark.parametrize("stage", [*IMAGES, *TAGGING_IMAGES])
def test_every_stage_runs_in_its_image_and_installs_nothing(spec, tagging, stage):
    executors = spec["deploymentSpec"]["executors"] | tagging["deploymentSpec"]["executors"]
    container = executors[f"exec-{stage}"]["container"]
    assert container["image"] == image((IMAGES | TAGGING_IMAGES)[stage])
    assert "pip install" not in " ".join([*container["command"], *container["args"]])


def test_what_looks_at_the_world_and_what_reports_run_every_time(spec):
    tasks = spec["root"]["dag"]["tasks"] | condition_of(spec)[2] | loop_of(spec)[2]
    cached = {name for name in IMAGES if tasks[name]["cachingOptions"].get("enableCache")}
    assert cached == set(IMAGES) - {"ingest", "rescore", "promote", "evaluate", "conclude"}


def start(*arguments):
    command = [sys.executable, "pipeline.py", "run", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, **pipes, text=True, cwd=Path(pipeline.__file__).parent)


def run(*arguments):
    started = start(*arguments)
    output = started.communicate()[0]
    return started.returncode, output


TINY = ["--set", "epochs=1", "epoch_size=2", "batch_size=4", "size=32"]


@pytest.mark.parametrize(
    ("members", "folds"), [([DEMO[0], LINEAR_MEMBER], [0]), pytest.param(DEMO, [-1, 0], marks=pytest.mark.slow)]
)
def test_a_small_run_leaves_everything_that_the_readme_promises(tmp_path, members, folds):
    write_dataset(tmp_path / "data", curated=65, noisy=13, test=26)
    out = tmp_path / "out"
    options = ["--members", *[member.id for member in members], "--folds", ",".join(map(str, folds)), *TINY]
    code, output = run("--data", tmp_path / "data", "--out", out, "--keep-audio", "--parallel", 2, *options)
    assert code == 0, output

    rows = {f"{member.id}-fold{fold}" for member in members for fold in folds}
    assert {path.name for path in (out / "models").iterdir()} == rows
    assert {path.stem for path in (out / "predictions").iterdir()} == rows
    for row in rows:
        assert (out / "models" / row / "weights.safetensors").stat().st_size > 1e4
        assert json.loads((out / "models" / row / "member.json").read_text())["member"]["id"] in row
    assert list((out / "spectrograms").glob("*.parquet"))
    assert 0 < len(pd.read_csv(out / "selection" / "noisy.csv")) <= 13
    assert not (tmp_path / "out.work").exists()
    check_out(out, force=True)  # it takes everything in it for the output of a run

    submission = pd.read_csv(out / "submission.csv", index_col="fname")
    sample = pd.read_csv(tmp_path / "data" / "sample_submission.csv", index_col="fname")
    assert list(submission.columns) == list(sample.columns) and list(submission.index) == list(sample.index)

    truth = pd.read_csv(tmp_path / "data" / "test_post_competition.csv", index_col="fname").loc[submission.index]
    hot = np.array([[name in labels.split(",") for name in sorted(CLASSES)] for labels in truth["labels"]])
    scores = json.loads((out / "scores.json").read_text())
    assert scores["ensemble"]["all"] == pytest.approx(lwlrap(hot, submission.to_numpy()), abs=1e-6)
    for usage in ("Public", "Private"):
        chosen = (truth["usage"] == usage).to_numpy()
        expected = lwlrap(hot[chosen], submission.to_numpy()[chosen])
        assert scores["ensemble"][usage.lower()] == pytest.approx(expected, abs=1e-6)
    assert set(scores["members"]) == {member.id for member in members}
    assert 0 < scores["ensemble"]["out_of_fold"] <= 1
    origin = scores["origin"]
    assert origin["command"].startswith("audiotagging run --data") and str(out) in origin["command"]
    assert [stage["stage"] for stage in origin["stages"]] == [name for name in IMAGES if name != "conclude"]
    assert all(stage["peak_bytes"] > 1e7 and stage["seconds"] > 0 for stage in origin["stages"])
    assert origin["seconds"] > max(stage["seconds"] for stage in origin["stages"] if stage["stage"] != "train")

    assert set(read_excerpts(out / "spectrograms", submission.index)) == set(submission.index)
    assert "<audio" in (out / "report.html").read_text(encoding="utf-8")
    for width, dark in [(400, True), (1400, False)] if CHROMIUM else []:
        check_page(out / "report.html", folder=tmp_path, width=width, dark=dark)
    for word in ("ensemble", "report.html", "submission.csv", *[member.id for member in members]):
        assert word in output


@pytest.mark.slow
def test_an_interrupted_run_resumes_from_its_checkpoint(tmp_path):
    write_dataset(tmp_path / "data", curated=39, noisy=13, test=13)
    sizes = ["--set", "epochs=30", "epoch_size=2", "batch_size=4", "size=32"]
    options = ["--data", tmp_path / "data", "--out", tmp_path / "out", "--members", DEMO[0].id, *sizes]
    first = start(*options)
    while first.poll() is None and not list(tmp_path.rglob("*.checkpoint")):
        time.sleep(0.1)
    first.send_signal(signal.SIGTERM)
    output = first.communicate()[0]
    assert first.returncode == 143 and "the same command resumes the run" in output
    assert not (tmp_path / "out").exists()

    code, output = run(*options)
    assert code == 0, output
    assert "preprocess unchanged" in output and "resuming from" in output
    (history,) = (tmp_path / "out" / "models").glob("*/history.parquet")
    assert list(pd.read_parquet(history)["epoch"]) == list(range(1, 31))


def batches_of(folder):
    """Return the tables of tags of all batches in the order of the batches."""
    return [path.read_text(encoding="utf-8") for path in sorted(folder.glob("batches/*/tags.csv"))]


@pytest.mark.slow
def test_new_sounds_are_tagged_in_shards_as_the_command_tags_them(tmp_path):
    write_dataset(tmp_path / "data", curated=39, noisy=13, test=13)
    code, output = run("--data", tmp_path / "data", "--out", tmp_path / "out", "--members", DEMO[0].id, *TINY)
    assert code == 0, output
    sounds, tags = tmp_path / "sounds", tmp_path / "tags"
    sounds.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):  # more than ten million bytes per shard
        soundfile.write(sounds / f"{number}.wav", rng.uniform(-0.5, 0.5, 90 * RATE), RATE)
    options = ["--pipeline", "tagging", "--data", sounds, "--models", tmp_path / "out", "--out", tags]

    code, output = run(*options, "--parallel", 2)
    assert code == 0, output
    assert all(f"tag shard {number} done" in output for number in (1, 2)), output
    command = [sys.executable, str(Path(pipeline.__file__)), "tag", ".", "--every", "2", "--format", "csv"]
    tagged = subprocess.run([*command, "--models", tmp_path / "out"], cwd=sounds, capture_output=True, text=True)
    assert batches_of(tags) == [tagged.stdout] and tagged.stdout.count("\n") > 3 * 45

    code, output = run(*options)
    assert code == 0 and "0 of 3 sounds to tag" in output, output
    assert len(batches_of(tags)) == 1

    soundfile.write(sounds / "new.wav", rng.uniform(-0.5, 0.5, 3 * RATE), RATE)
    code, output = run(*options)
    assert code == 0 and "1 of 4 sounds to tag" in output, output
    [_, second] = batches_of(tags)
    assert {line.split(",")[0] for line in second.splitlines()[1:]} == {"new.wav"}
