"""How the workflow of a run is asked for."""

import base64
import gzip
import json

import pytest
from helpers.workflows import recorded

from audiotagging.runs.argo import parse_workflow
from audiotagging.runs.run_stages import Workflow
from commands.cluster.answers import AnswerError
from commands.cluster.outputs import find_outputs
from commands.cluster.workflow import read_workflow


@pytest.mark.parametrize("packed", [False, True])
def test_nodes_are_read_also_where_they_are_compressed(server, client, packed):
    workflow = recorded("cached")
    if packed:
        nodes = workflow["status"].pop("nodes")
        workflow["status"]["compressedNodes"] = base64.b64encode(gzip.compress(json.dumps(nodes).encode())).decode()
    runtime = {"pipeline_runtime": {"workflow_manifest": json.dumps(workflow)}}
    server.broken = {r"GET /apis/v1beta1/runs/x": (200, runtime)}
    assert read_workflow(client, "x") == parse_workflow(recorded("cached"))


@pytest.mark.parametrize("answer", [(404, "Not Found"), (200, {"pipeline_runtime": {}})])
def test_without_a_workflow_there_are_no_stages(server, client, answer):
    server.broken = {r"GET /apis/v1beta1/runs/x": answer}
    assert read_workflow(client, "x") == Workflow()


URI = "minio://mlpipeline/v2/artifacts"
INPUTS = ("spectrograms", "selection", "averaged")
RUN = "10402d41-98b6-4f62-a7a6-b6a3bd20cdb5"


def io(key, *artifacts, kind="OUTPUT"):
    return {"artifact_key": key, "type": kind, "artifacts": list(artifacts)}


def artifact(path, **metadata):
    return {"artifact_id": path, "name": path, "type": "Model", "uri": f"{URI}/{path}", "metadata": metadata}


def task(
    name, parent="root", *, kind="RUNTIME", state="SUCCEEDED", index=None, inputs=(), outputs=(), pods=1, minute=0
):
    """A task as `PipelineTask` of Kubeflow's branch mlmd-removal is in JSON."""
    identity = name if index is None else f"{name}-{index}"
    named = [{"name": f"{identity}-driver", "uid": "u", "type": "DRIVER"}]
    named += [{"name": f"{identity}-{number}", "uid": "u", "type": "EXECUTOR"} for number in range(pods)]
    return {
        "name": name,
        "task_id": f"{parent}/{identity}",
        "run_id": RUN,
        "pods": named if kind == "RUNTIME" else named[:1],
        "create_time": f"2026-12-01T03:{minute:02}:00Z",
        "end_time": "2026-12-01T03:59:00Z" if state != "RUNNING" else None,
        "state": state,
        "type": kind,
        "type_attributes": {} if index is None else {"iteration_index": str(index)},
        "parent_task_id": parent,
        "inputs": {"artifacts": list(inputs)},
        "outputs": {"artifacts": list(outputs)},
        "scope_path": f"root.{name}",
    }


def whole_run():
    """The tasks of a run with two rows, of which evaluate got the models as collected inputs."""
    loop, models = "root/for-loop-1", []
    tasks = [
        {"name": "root", "task_id": "root", "type": "ROOT", "state": "SUCCEEDED", "run_id": RUN},
        task("ingest", state="CACHED", pods=0),
        task("for-loop-1", kind="LOOP", minute=2),
    ]
    for row, member in enumerate(("demo-xresnet18ssa-focal", "demo-xresnet50-bce")):
        inner = f"{loop}/iteration-{row}"
        models.append(artifact(f"model{row}", member=member, fold=-1.0))
        tasks += [
            task("iteration", loop, kind="DAG", index=row, minute=3),
            task(
                "train",
                inner,
                pods=2,
                minute=4 + row,
                outputs=[io("model", models[-1]), io("executor-logs", artifact(f"log{row}-1"))],
            ),
        ]
    predictions = [artifact(f"prediction{row}", **model["metadata"]) for row, model in enumerate(models)]
    tasks += [
        task("ensemble", minute=20, inputs=[io("predictions", *predictions, kind="COLLECTED_INPUTS")]),
        task(
            "evaluate",
            minute=21,
            inputs=[
                *(io("models", model, kind="COLLECTED_INPUTS") for model in models),
                *(
                    io(name, artifact(name), kind="TASK_OUTPUT_INPUT")
                    for name in ("spectrograms", "selection", "averaged")
                ),
            ],
            outputs=[io(name, artifact(name)) for name in ("scores", "report", "audit")],
        ),
    ]
    return tasks


@pytest.fixture
def tasks(server):
    """A function that lets the server have tasks, but no version 1 of the API."""

    def have(*pages):
        asked = iter(pages)
        server.broken = {
            r"GET /apis/v1beta1/runs/.*": (404, "Not Found"),
            r"GET /apis/v2beta1/runs/[\w-]+/tasks": lambda _: (200, next(asked)),
        }

    return have


def test_without_version_1_a_run_is_read_from_its_tasks(client, tasks):
    found = whole_run()
    tasks({"tasks": found[:3], "next_page_token": "more"}, {"tasks": found[3:], "total_size": len(found)})
    workflow = read_workflow(client, RUN)
    assert workflow.namespace == "kubeflow"
    assert [(stage.name, stage.row, stage.state) for stage in workflow.stages] == [
        ("ingest", None, "cached"),
        ("train", 0, "done"),
        ("train", 1, "done"),
        ("ensemble", None, "done"),
        ("evaluate", None, "done"),
    ]
    train = workflow.stages[2]
    assert train.outputs == {"model": [f"{URI}/model1"]}
    assert [(pod.name, pod.phase, pod.log) for pod in train.pods] == [
        ("train-0", "Failed", None),
        ("train-1", "Succeeded", f"{URI}/log1-1"),
    ]


def test_its_outputs_are_found(client, tasks):
    tasks({"tasks": whole_run()})
    outputs = find_outputs(client, RUN)
    assert outputs["models/demo-xresnet50-bce-fold-1"] == f"{URI}/model1"
    assert outputs["scores.json"] == f"{URI}/scores" and outputs["report.html"] == f"{URI}/report"


@pytest.mark.parametrize(
    ("state", "pods", "expected"),
    [
        ("RUNNING", 1, "running"),
        ("RUNNING", 0, "starting"),
        ("FAILED", 1, "failed"),
        ("SKIPPED", 0, "omitted"),
        (None, 0, "preparing"),
    ],
)
def test_states_of_tasks(client, tasks, state, pods, expected):
    tasks({"tasks": [task("ingest", state=state, pods=pods)]})
    (stage,) = read_workflow(client, RUN).stages
    assert stage.state == expected and (stage.finished is None) == (state == "RUNNING")


def test_a_failed_task_says_why(client, tasks):
    failed = task("ingest", state="FAILED") | {"status_metadata": {"message": "OOMKilled"}}
    tasks({"tasks": [failed]})
    ((stage, pod),) = read_workflow(client, RUN).failed
    assert (stage.name, pod.message, pod.phase) == ("ingest", "OOMKilled", "Failed")


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ({"tasks": [], "next_page_token": "again"}, "the same page follows again"),
        ({"tasks": [{"name": "train"}]}, "another shape than expected"),
        ([], "another shape than expected"),
    ],
)
def test_tasks_of_another_shape_are_said(client, tasks, page, message):
    tasks(page, page, page)
    with pytest.raises(AnswerError, match=message):
        read_workflow(client, RUN)
