"""What is printed of pods that do not start, of nodes that are lost, and of runs in which nothing happens."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from helpers.workflows import changed, recorded

from audiotagging.runs.argo import parse_workflow
from audiotagging.runs.run_stages import Workflow
from commands.cluster import events
from commands.cluster.events import Standstills
from commands.cluster.run_progress import Progress

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PATH = ".evaluate(0).executor(0)"
KUEUE = "kueue.x-k8s.io/admission"


def event(reason, message, *, kind="Warning", minute=0, field="lastTimestamp"):
    times = {"lastTimestamp": None, "metadata": {"creationTimestamp": None}} | {field: f"2026-11-24T08:{minute:02}:00Z"}
    return {"type": kind, "reason": reason, "message": message} | times


def look(phase="Pending", message="", **fields):
    """Return the workflow of a run whose last stage is in a phase, and the name of its pod."""
    workflow = changed(recorded("retried"), PATH, phase=phase, message=message, finishedAt=None, **fields)
    parsed = parse_workflow(changed(workflow, ".evaluate", phase="Running"))
    ((_, pod),) = parsed.unfinished
    return parsed, pod.name


@pytest.fixture
def lines(client, monkeypatch):
    """Return a function that returns the lines about looks at a run, one a minute."""
    monkeypatch.setattr(events, "PATIENCE", timedelta(seconds=60))

    def told(*looks):
        progress, standstills, found = Progress([]), Standstills(client), []
        for minute, workflow in enumerate(looks):
            now = NOW + timedelta(minutes=minute)
            found += progress.changes(workflow, now, standstills.reasons(workflow, now))
            found += progress.unchanged(workflow, now)
        return [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in found if "done" not in line]

    return told


@pytest.mark.parametrize("message", ["", "PodInitializing", "ContainerCreating"])
@pytest.mark.parametrize(
    ("found", "line"),
    [
        (
            [event("FailedMount", 'MountVolume.SetUp failed for volume "store" : secret "nosuch" not found')],
            "evaluate waits for the secret nosuch, which does not exist",
        ),
        (
            [event("FailedMount", 'references non-existent config map: configmaps "settings" not found')],
            "evaluate waits for the config map settings, which does not exist",
        ),
        (
            [
                event(
                    "FailedScheduling",
                    '0/2 nodes are available: persistentvolumeclaim "audio" not found. preemption: 0',
                )
            ],
            "evaluate waits for the volume claim audio, which does not exist",
        ),
        (
            [event("FailedScheduling", "0/2 nodes are available: 2 Insufficient nvidia.com/gpu. preemption: 0/2")],
            "evaluate waits for a GPU",
        ),
        ([event("NodeNotReady", "Node is not ready")], "evaluate waits for the node vm2, which does not answer"),
        (
            [event("FailedMount", "Unable to attach or mount volumes: timed out waiting. More words")],
            "evaluate waits for Kubernetes: FailedMount: Unable to attach or mount volumes: timed out waiting",
        ),
        (
            [event("Pulling", 'Pulling image "host/audiotagging-training:1"', kind="Normal")],
            "evaluate waits for the image host/audiotagging-training:1, which is being pulled",
        ),
        (
            # The newest warning counts, also where the newest event is none.
            [
                event("FailedMount", 'secret "new" not found', minute=3, field="eventTime"),
                event("FailedMount", 'secret "old" not found', minute=2),
                event("SuccessfulAttachVolume", "AttachVolume.Attach succeeded", kind="Normal", minute=4),
            ],
            "evaluate waits for the secret new, which does not exist",
        ),
        (
            # What was said before the pod had a node does not count, nor what was said before an image is pulled.
            [
                event("FailedScheduling", "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."),
                event("Scheduled", "Successfully assigned", kind="Normal", minute=1),
                event("FailedMount", 'secret "late" not found', minute=2),
                event("Pulling", 'Pulling image "host/audiotagging-training:1"', kind="Normal", minute=3),
            ],
            "evaluate waits for the image host/audiotagging-training:1, which is being pulled",
        ),
        (
            [
                event("Failed", 'Failed to pull image "ghcr.io/launcher:1": failed to resolve reference: not found'),
                event("Failed", "Error: ErrImagePull", minute=1),
                event("BackOff", 'Back-off pulling image "ghcr.io/launcher:1"', kind="Normal", minute=2),
                event("Failed", "Error: ImagePullBackOff", minute=3),
            ],
            "evaluate waits for the image ghcr.io/launcher:1, which cannot be pulled: not found",
        ),
    ],
)
def test_a_pod_that_does_not_start_says_why_after_a_minute(server, lines, message, found, line):
    workflow, pod = look(message=message, hostNodeName="vm2", startedAt=f"{NOW:%Y-%m-%dT%H:%M:%SZ}")
    server.events[pod] = found
    assert lines(workflow) == []
    assert lines(workflow, workflow, workflow) == [line]


def test_a_pod_that_kueue_holds_back_says_so(server, lines):
    workflow, pod = look()
    server.gates[pod] = [KUEUE]
    assert lines(workflow) == ["evaluate waits for Kueue"]
    server.gates[pod] = ["example.org/other"]
    assert lines(workflow) == ["evaluate waits for what removes the gate example.org/other of its pod"]


@pytest.mark.parametrize("answer", ["<html>", "[]", '{"items": [{}]}', '{"items": 3}'])
def test_events_of_another_shape_do_not_end_the_following(server, lines, answer):
    workflow, pod = look()
    server.broken = {r"GET /k8s/pod/events": (200, answer)}
    assert lines(workflow) == [f"evaluate waits for Kubernetes: `kubectl -n kubeflow describe pod {pod}` says why"]


@pytest.mark.parametrize("page", [True, False])
def test_where_kubernetes_gives_no_reason_a_command_shows_more(server, lines, page):
    server.page = page
    workflow, pod = look()
    assert lines(workflow) == [f"evaluate waits for Kubernetes: `kubectl -n kubeflow describe pod {pod}` says why"]


def test_kubeflows_own_drivers_are_not_forgotten(server, lines):
    pulling = "ImagePullBackOff: " + 'Back-off pulling image "kfp-driver:1"'
    workflow = changed(recorded("retried"), ".iteration-driver(0)", phase="Pending", message=pulling, finishedAt=None)
    assert lines(parse_workflow(workflow)) == [
        "Kubeflow's own iteration-driver waits for the image kfp-driver:1, which cannot be pulled: "
        'Back-off pulling image "kfp-driver:1"'
    ]
    workflow = changed(recorded("retried"), ".evaluate-driver(0)", phase="Pending", message="", finishedAt=None)
    nodes = workflow["status"]["nodes"].values()
    workflow["status"]["nodes"] = {each["id"]: each for each in nodes if not re.search(r"evaluate(\(|$)", each["name"])}
    workflow = parse_workflow(changed(workflow, ".evaluate-driver", phase="Running"))
    ((_, pod),) = workflow.unfinished
    server.events[pod.name] = [event("FailedMount", 'secret "nosuch" not found')]
    assert lines(workflow) == ["Kubeflow's own driver of evaluate waits for the secret nosuch, which does not exist"]


def test_a_lost_node_is_told_once_and_old_troubles_are_not(server, lines):
    workflow, pod = look("Running", hostNodeName="vm2")
    server.events[pod] = [
        event("FailedMount", 'secret "late" not found', minute=1),
        event("Started", "Started container main", kind="Normal", minute=2),
    ]
    assert [line for line in lines(workflow) if "running" not in line] == []
    server.events[pod].append(event("NodeNotReady", "Node is not ready", minute=3))
    assert lines(workflow, workflow, workflow)[1:] == ["evaluate: its node vm2 does not answer"]


def test_pods_with_a_reason_of_argos_and_young_ones_are_not_asked_for(server, lines):
    waiting, _ = look(message="Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    assert lines(waiting, waiting) == ["evaluate waits for a GPU"]
    young, _ = look("Running", startedAt=f"{NOW:%Y-%m-%dT%H:%M:%SZ}")
    lines(young)
    assert not any("/k8s/" in request for request in server.requests)


def test_a_run_of_which_nothing_starts_says_so_once(lines):
    line = "Kubeflow shows no stage of this run at work, for 1 min now; "
    told = lines(*[Workflow()] * 4)
    assert [text.startswith(line) for text in told] == [True] and "kubectl get pods -A" in told[0]


def test_after_a_failure_a_run_may_stand_still_as_long_as_argo_waits(lines):
    failed = parse_workflow(changed(recorded("retried"), ".evaluate", phase="Failed"))
    told = lines(*[failed] * 4)
    assert not any("no stage of this run at work" in line for line in told)


def test_a_run_in_which_nothing_changes_says_so_every_few_minutes(server, lines):
    workflow, _ = look("Running")
    told = lines(*[workflow] * 11)
    assert told[0] == "evaluate running"
    assert told[1:] == ["nothing has changed for 5 min; at work: evaluate"] * 2
    waiting, _ = look(message="Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    assert lines(*[waiting] * 6)[1:] == ["nothing has changed for 5 min; nothing is at work, 1 stage waiting"]


def test_that_notify_failed_on_purpose_is_no_line(lines):
    workflow = changed(recorded("retried"), ".evaluate", phase="Failed")
    last = [each for each in workflow["status"]["nodes"].values() if ".evaluate" in each["name"]]
    for node in last:
        told = node | {"id": f"{node['id']}-told", "name": node["name"].replace(".evaluate", ".notify")}
        workflow["status"]["nodes"][told["id"]] = told
    parsed = parse_workflow(workflow)
    assert {stage.name for stage in parsed.stages if stage.state == "failed"} == {"evaluate", "notify"}
    told = lines(parsed)
    assert [line for line in told if line.startswith("evaluate failed")] and "notify" not in " ".join(told)
