"""What is read of the workflows of real runs."""

import re
from collections import Counter

import pytest
from helpers.workflows import changed, recorded, with_second_tree, without_retries

from audiotagging.runs.argo import parse_workflow
from audiotagging.runs.run_stages import STAGES
from components.cluster import NEEDS

FORMS = {"with retries": lambda workflow: workflow, "without retries": without_retries}
RECORDED = ["ingest", "preprocess", "select", "train", "predict", "ensemble", "promote", "evaluate"]  # stages then
LOOP = {"train", "predict"}


@pytest.mark.parametrize("form", FORMS)
def test_every_stage_of_a_run_is_found_once_and_in_the_loop_once_a_row(form):
    stages = parse_workflow(FORMS[form](recorded("retried"))).stages
    rows = {name: [None] if name not in LOOP else [0, 1] for name in RECORDED}
    assert Counter((stage.name, stage.row) for stage in stages) == Counter(
        (name, row) for name in rows for row in rows[name]
    )
    assert [stage.name for stage in stages if stage.name not in LOOP] == [name for name in RECORDED if name not in LOOP]
    assert {stage.state for stage in stages} == {"done"}
    assert all(len(stage.pods) == len(stage.drivers) == 1 for stage in stages)
    assert all(stage.started < stage.finished for stage in stages)


@pytest.mark.parametrize("form", FORMS)
def test_a_stage_knows_its_pod_its_log_and_where_its_outputs_are(form):
    stages = {(stage.name, stage.row): stage for stage in parse_workflow(FORMS[form](recorded("retried"))).stages}
    train, run = stages["train", 0], "10402d41-98b6-4f62-a7a6-b6a3bd20cdb5"
    (pod,) = train.pods
    assert pod.name == "audiotagging-4fxbj-retry-system-container-impl-3198025803"
    assert pod.log == f"minio://mlpipeline/private-artifacts/kubeflow/audiotagging-4fxbj/2026/11/24/{pod.name}/main.log"
    assert (pod.started.isoformat(), pod.finished.isoformat()) == (
        "2026-11-24T08:19:43+00:00",
        "2026-11-24T08:20:26+00:00",
    )
    (model,) = train.outputs["model"]
    assert model.startswith(f"minio://mlpipeline/v2/artifacts/audiotagging/{run}/train/") and model.endswith("/model")
    assert train.outputs["executor-logs"] == [model.removesuffix("model") + "executor-logs"]
    assert train.executor_input["inputs"]["parameterValues"]["row"]["id"] == "demo-xresnet18ssa-focal"
    assert stages["evaluate", None].inputs["models"] == [stages["train", row].outputs["model"][0] for row in (0, 1)]
    assert set(stages["evaluate", None].outputs) == {"scores", "report", "executor-logs"}


@pytest.mark.parametrize("form", FORMS)
def test_cached_stages_are_distinguished_from_completed_ones(form):
    stages = parse_workflow(FORMS[form](recorded("cached"))).stages
    assert {stage.name for stage in stages if stage.state == "done"} == {"ingest", "promote"}
    cached = [stage for stage in stages if stage.state == "cached"]
    assert len(stages) == len(cached) + 2 == 18
    assert all(stage.pods == () and stage.outputs == {} and stage.finished for stage in cached)


@pytest.mark.parametrize("lost", [".train-driver(0)", ".train(0).executor(0)", ".select(0).executor(0)"])
def test_of_two_trees_the_second_one_counts_and_the_tries_of_both_are_kept(lost):
    stages = parse_workflow(with_second_tree(recorded("retried"), lost)).stages
    assert {stage.state for stage in stages} == {"done"}
    assert len(stages) == len(parse_workflow(recorded("retried")).stages)
    ingest = stages[0]
    assert ingest.name == "ingest" and [pod.number for pod in ingest.pods] == [0, 1]
    broken = [pod for stage in stages for pod in (*stage.pods, *stage.drivers) if pod.broken]
    assert [(pod.phase, pod.message, pod.number) for pod in broken] == [("Error", "pod deleted", 0)]


@pytest.mark.parametrize(
    ("phase", "message", "expected"),
    [
        ("Running", "", ("running", "")),
        ("Pending", "PodInitializing", ("starting", "")),
        ("Pending", "Unschedulable: no node", ("waiting", "Unschedulable: no node")),
        ("Error", "pod deleted", ("waiting", "Backoff for 1 minute 0 seconds")),
        ("Failed", "main: Error (exit code 1)", ("failed", "")),  # Kubeflow's default policy is OnError
    ],
)
def test_a_stage_that_has_not_ended_is_as_its_last_pod_is(phase, message, expected):
    workflow = changed(recorded("retried"), ".evaluate", phase="Running")
    workflow = changed(workflow, ".evaluate(0).executor", phase="Running", message="Backoff for 1 minute 0 seconds")
    workflow = changed(workflow, ".evaluate(0).executor(0)", phase=phase, message=message, finishedAt=None)
    stage = parse_workflow(workflow).stages[-1]
    assert (stage.name, stage.state, stage.reason) == ("evaluate", *expected)
    assert stage.finished is None


@pytest.mark.parametrize("phase", ["Failed", "Error"])
@pytest.mark.parametrize("policy", ["OnFailure", "OnError", "Always", None])
@pytest.mark.parametrize("place", ["template", "defaults"])
def test_a_stage_waits_for_another_try_only_if_argos_policy_makes_one(phase, policy, place):
    workflow = changed(recorded("retried"), ".evaluate", phase="Running")
    workflow = changed(workflow, ".evaluate(0).executor", phase="Running", message="Backoff for 1 minute 0 seconds")
    workflow = changed(workflow, ".evaluate(0).executor(0)", phase=phase, message="its end")
    (node,) = [each for each in workflow["status"]["nodes"].values() if each["name"].endswith(".evaluate(0).executor")]
    strategy = {"limit": "2"} | ({"retryPolicy": policy} if policy else {})
    if place == "template":
        workflow["spec"]["templates"] = [{"name": node["templateName"], "retryStrategy": strategy}]
        policy = policy or workflow["spec"]["templateDefaults"]["retryStrategy"]["retryPolicy"]
    else:
        workflow["spec"]["templateDefaults"] = {"retryStrategy": strategy}
    comes = {"OnFailure": ["Failed"], "OnError": ["Error"], "Always": ["Failed", "Error"], None: ["Failed"]}[policy]
    assert (parse_workflow(workflow).stages[-1].state == "waiting") == (phase in comes)


def test_a_stage_waits_also_with_its_driver():
    path, reason = ".evaluate-driver", "ErrImagePull: not found"
    workflow = changed(recorded("retried"), f"{path}(0)", phase="Pending", message=reason, finishedAt=None)
    nodes = workflow["status"]["nodes"].values()
    workflow["status"]["nodes"] = {each["id"]: each for each in nodes if not re.search(r"evaluate(\(|$)", each["name"])}
    (stage,) = [stage for stage, _ in parse_workflow(changed(workflow, path, phase="Running")).unfinished]
    assert (stage.name, stage.state, stage.reason) == ("evaluate", "waiting", reason) and not stage.pods


def test_a_pod_of_no_stage_is_not_forgotten_until_it_succeeds():
    path = ".iteration-driver"
    workflow = changed(recorded("retried"), f"{path}(0)", phase="Error", message="no metadata service")
    (pod,) = parse_workflow(workflow).others
    assert (pod.role, pod.message, pod.broken) == ("iteration-driver", "no metadata service", True)
    assert not any(parse_workflow(workflow).unfinished)

    workflow = changed(recorded("retried"), f"{path}(0)", phase="Pending", message="", finishedAt=None)
    ((stage, pod),) = parse_workflow(workflow).unfinished
    assert stage is None and pod.starting and pod.role == "iteration-driver"
    assert parse_workflow(recorded("retried")).others == ()


def test_the_stages_are_those_of_the_pipelines():
    assert set(STAGES) == set(NEEDS)


def test_only_a_run_that_somebody_stopped_is_stopped():
    assert parse_workflow(recorded("stopped")).stopped
    assert not any(parse_workflow(recorded(name)).stopped for name in ("refused", "retried", "waiting"))


def test_a_stage_that_ended_because_its_run_was_stopped_did_not_fail():
    first = parse_workflow(recorded("stopped")).stages[0]  # while its driver ran
    assert (first.name, first.state) == ("ingest", "stopped")

    # While its program ran, which then wrote a checkpoint and said what SIGTERM means.
    deadline = "retry exceeded workflow deadline 2026-11-24 21:08:59 +0000 UTC"
    workflow = changed(recorded("refused"), ".ingest(0).executor", message=deadline)
    workflow["spec"]["activeDeadlineSeconds"] = 0
    assert [stage.state for stage in parse_workflow(workflow).stages if stage.name == "ingest"] == ["stopped"]

    workflow = recorded("refused")  # it failed by itself, before the others were stopped
    workflow["spec"]["activeDeadlineSeconds"] = 0
    assert [stage.state for stage in parse_workflow(workflow).stages if stage.name == "ingest"] == ["failed"]


def test_a_stage_whose_pod_failed_waits_for_nothing_until_argo_says_for_what():
    workflow = changed(recorded("refused"), ".ingest(0).executor", phase="Running", message="")
    workflow = changed(workflow, ".ingest", phase="Running")
    assert [(stage.state, stage.reason) for stage in parse_workflow(workflow).stages if stage.name == "ingest"] == [
        ("starting", "")
    ]


def test_a_stage_whose_driver_failed_failed_though_argo_calls_it_omitted():
    workflow = changed(recorded("refused"), ".preprocess-driver", phase="Failed", type="Retry")
    states = {stage.name: stage.state for stage in parse_workflow(workflow).stages}
    assert states["preprocess"] == "failed" and states["select"] == "omitted"


def test_the_tries_of_a_program_are_the_pods_of_its_stage_where_argo_has_no_default_retries():
    *looks, last = recorded("plain")
    (train,) = [stage for stage in parse_workflow(last).stages if (stage.name, stage.row) == ("train", 1)]
    assert [(pod.number, pod.retry, pod.phase) for pod in train.pods] == [(0, 0, "Failed"), (1, 1, "Succeeded")]
    assert train.started == train.pods[0].started and train.finished == train.pods[1].finished
    assert len(parse_workflow(last).stages) == len(parse_workflow(recorded("retried")).stages)
    assert not any("(0)." in node["name"] for look in looks for node in look["status"]["nodes"].values())
