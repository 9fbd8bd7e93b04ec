"""Runs followed, against a server that answers as Kubeflow Pipelines does."""

import json
import re
from datetime import timedelta

import pytest
from helpers.workflows import FOLDER, changed, recorded

from audiotagging.members import DEMO
from audiotagging.runs.argo import parse_workflow
from audiotagging.training import supervisor
from commands.cluster import following, trainings
from commands.cluster.failures import find_failures

MEMBERS = [DEMO[0].id, DEMO[2].id]  # of the run that was recorded
SUBMIT = ["submit", "--data", "demo", "--members", *MEMBERS, "--wait"]
TIME = re.compile(r"^\d\d:\d\d:\d\d ", re.MULTILINE)


def artifact(workflow, stage, name):
    """Return the URI of a stage's output."""
    return next(each for each in parse_workflow(workflow).stages if each.name == stage).outputs[name][0]


def told(output):
    """Return the lines of the stages, without their times."""
    return [TIME.sub("", line) for line in output.splitlines() if TIME.match(line)]


@pytest.mark.parametrize("packed", [False, True])
def test_a_run_is_followed_with_a_line_a_change(server, call, packed):
    looks = recorded("killed")
    server.story = [("PENDING", None), *(("RUNNING", look) for look in looks[:-1]), ("FAILED", looks[-1])]
    server.packed = packed
    code, output, _ = call(*SUBMIT)
    first, second = (f"train {member}, fold -1" for member in MEMBERS)
    assert code == 1
    assert [line.partition(" after ")[0] for line in told(output)] == [
        "ingest done",
        "preprocess unchanged, taken from the cache",
        "select unchanged, taken from the cache",
        f"{first} running",
        f"{second} running",
        f"{first} failed",
        f"{second} done",
        f"predict {MEMBERS[1]}, fold -1 done",
    ]
    assert told(output)[0] == "ingest done after 5 s"  # as its pod's times say: nobody saw how long it waited
    assert f"\n{first}: main: Error (exit code 1)\n" in output


def test_a_training_that_argo_tries_again_by_itself_says_so(server, call):
    looks = recorded("plain")
    server.story = [*(("RUNNING", look) for look in looks[:-1]), ("SUCCEEDED", looks[-1])]
    server.artifacts[artifact(looks[-1], "evaluate", "scores")] = json.dumps(
        {"ensemble": {"all": 0.75424, "public": 0.742}}
    )
    code, output, _ = call(*SUBMIT)
    assert code == 0 and output.endswith("lwlrap of the ensemble: all 0.7542, public 0.7420\n")
    lines = [line.partition(" after ")[0] for line in told(output)]
    second = f"train {MEMBERS[1]}, fold -1"
    assert [line for line in lines if line.startswith(second)] == [
        f"{second} running",
        f"{second} waits for another try",
        f"{second} running, try 2",
        f"{second} done",
    ]
    assert lines[-3:] == ["ensemble done", "promote done", "evaluate done"]


def test_what_came_from_the_cache_says_so(server, call):
    server.story = [("SUCCEEDED", recorded("cached"))]
    code, output, _ = call("submit", "--data", "demo", "--wait")
    assert code == 0
    assert sum(line.startswith("train") for line in told(output)) == 6
    assert sum(line.endswith("unchanged, taken from the cache") for line in told(output)) == 16
    assert "ingest done after 5 s" in told(output)
    assert "the scores are those of an earlier run" in output


def test_stages_that_wait_for_the_same_thing_are_one_line(server, call):
    pending = [node for node in recorded("waiting")["status"]["nodes"].values() if node["phase"] == "Pending"]
    waiting = sum("nvidia.com/gpu" in node.get("message", "") for node in pending)
    assert waiting > 20
    server.story = [("RUNNING", recorded("waiting"))] * 2 + [("SUCCEEDED", None)]
    code, output, _ = call("submit", "--data", "demo", "--folds", "0,1,2,3,4", "--wait")
    assert code == 0
    assert [line for line in told(output) if "wait" in line] == [f"{waiting} stages wait for a GPU: 6 of 6 in use"]


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        (
            "Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu. no new claims to deallocate, "
            "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
            "evaluate waits for a GPU",
        ),
        (
            "Unschedulable: 0/3 nodes are available: 1 Insufficient memory, 2 Insufficient cpu, 2 Insufficient memory.",
            "evaluate waits for enough memory and enough cpu",
        ),
        (
            "Unschedulable: 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. preemption: "
            "0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
            "evaluate waits for 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector",
        ),
        (
            'pods "x" is forbidden: exceeded quota: audiotagging-gpus, requested: requests.nvidia.com/gpu=1, '
            "used: requests.nvidia.com/gpu=4, limited: requests.nvidia.com/gpu=4",
            "evaluate waits for a GPU: 4 of 4 in use",
        ),
        (
            'ImagePullBackOff: Back-off pulling image "a/b:1": ErrImagePull: failed to pull and unpack image '
            '"docker.io/a/b:1": failed to resolve reference "docker.io/a/b:1": docker.io/a/b:1: not found',
            "evaluate waits for the image docker.io/a/b:1, which cannot be pulled: not found",
        ),
        (
            'ErrImagePull: failed to pull and unpack image "docker.io/a/b:1": failed to resolve reference '
            '"docker.io/a/b:1": docker.io/a/b:1: not found',
            "evaluate waits for the image docker.io/a/b:1, which cannot be pulled: not found",
        ),
        (
            'ImagePullBackOff: Back-off pulling image "a/b:1"',
            'evaluate waits for the image a/b:1, which cannot be pulled: Back-off pulling image "a/b:1"',
        ),
    ],
)
def test_a_stage_says_what_it_waits_for(server, call, reason, line):
    look = changed(recorded("retried"), ".evaluate(0).executor(0)", phase="Pending", message=reason, finishedAt=None)
    server.story = [("RUNNING", changed(look, ".evaluate", phase="Running")), ("SUCCEEDED", None)]
    _, output, _ = call("submit", "--data", "demo", "--wait")
    assert told(output)[-1] == line


def test_an_image_that_cannot_be_pulled_is_named_once(server, call):
    pulling = 'ErrImagePull: failed to pull and unpack image "docker.io/a/b:1": docker.io/a/b:1: not found'
    looks = [
        changed(
            changed(recorded("retried"), ".evaluate(0).executor(0)", phase="Pending", message=reason, finishedAt=None),
            ".evaluate",
            phase="Running",
        )
        for reason in (pulling, f'ImagePullBackOff: Back-off pulling image "a/b:1": {pulling}')
    ]
    server.story = [("RUNNING", look) for look in looks * 2] + [("SUCCEEDED", None)]
    _, output, _ = call("submit", "--data", "demo", "--wait")
    assert len([line for line in told(output) if "cannot be pulled" in line]) == 1


def pod(workflow, path):
    """Return the name of the pod of a node, and the URI of its log."""
    (node,) = [node for node in workflow["status"]["nodes"].values() if node["name"].endswith(path)]
    (log,) = [each["s3"]["key"] for each in node["outputs"]["artifacts"]]
    return log.split("/")[-2], f"minio://mlpipeline/{log}"


@pytest.mark.parametrize("place", ["archive", "page", "api", "launcher", ""])
def test_a_users_mistake_ends_the_run_with_what_is_wrong_wherever_its_log_is(server, call, place):
    workflow = recorded("refused")
    name, uri = pod(workflow, ".executor(0)")
    log = (FOLDER / "refused.log").read_text()
    server.story = [("FAILED", workflow)]
    if place == "archive":
        server.artifacts[uri] = log
    elif place == "launcher":
        server.artifacts[artifact(workflow, "ingest", "executor-logs") + "-0"] = log[log.index("error: ") :]
    elif place:
        server.logs[name], server.page, server.readable = log, place == "page", place == "api"
    code, output, _ = call(*SUBMIT, "--tries", "3")
    assert code == 1 and told(output) == ["ingest failed after 4 s"]
    if place:
        assert "\ningest: error: expected a data folder, a zip archive" in output
        assert output.endswith("found '/audio/nowhere', which is not there\n")  # and no traceback, and no JSON
        assert not any(request.endswith(":retry") for request in server.requests)
    else:
        assert "\ningest: main: Error (exit code 1)\n" in output
        assert f"kubectl -n kubeflow logs {name}" in output


TRAIN = ".iteration-iterations(0:0)(0).iteration-item(0).train"
KILLED = (FOLDER / "killed.log").read_text()
UPLOAD = 'failed to upload output artifact "model" to remote storage: StatusCode: 403, AccessDenied'
REFUSED = (
    "[KFP Executor 2026-11-24 11:02:03,137 INFO]: epoch 6 of 6\n"
    "E1124 11:02:04.106216      18 launcher_v2.go:867] attempt 2 failed\n"
    f"F1124 11:02:04.145533      18 main.go:59] failed to execute component: {UPLOAD}\n"
)
DEFECT = "Traceback (most recent call last):\n  File\nRuntimeError: failed\ndefect: RuntimeError: failed\n"


def broken(message, *, phase="Failed"):
    workflow = changed(recorded("retried"), f"{TRAIN}(0).executor(0)", phase=phase, message=message)
    return changed(workflow, TRAIN, phase=phase)


@pytest.mark.parametrize(
    ("message", "log", "reason"),
    [
        ("main: OOMKilled (exit code 137)", "", "out of memory: the stage may use 3Gi"),
        ("pod deleted", "", "its pod was deleted, or its node was lost"),
        ("main: Error (exit code 1)", DEFECT, "defect: RuntimeError: failed"),
        ("main: Error (exit code 1)", KILLED, "killed, most likely because memory ran out"),
        ("main: Error (exit code 1)", KILLED.replace("status 137", "status 139"), "ended by SIGSEGV"),
        ("main: Error (exit code 1)", KILLED.replace("status 137", "status 1"), "main: Error (exit code 1)"),
        ("main: Error (exit code 1)", REFUSED, f"Kubeflow's launcher failed, not the program: {UPLOAD}"),
        ("main: Error (exit code 1)", f"{DEFECT}{REFUSED}", "defect: RuntimeError: failed"),
        ("main: Error (exit code 1)", "", "main: Error (exit code 1)"),
        ("Pod was active on the node longer than the specified deadline", "", "exceeded the limit of this stage"),
        ("The node was low on resource: ephemeral-storage.", "", "The node was low on resource: ephemeral-storage."),
        ("", "", "failed without a message"),
    ],
)
def test_a_failure_says_its_reason_first(server, client, message, log, reason):
    workflow = broken(message)
    server.logs[pod(workflow, f"{TRAIN}(0).executor(0)")[0]] = log
    (failure,) = find_failures(client, "x", parse_workflow(workflow))
    assert (failure.stage.name, failure.stage.row) == ("train", 0)
    assert failure.reason.text.startswith(reason) and not failure.reason.users


def test_a_driver_that_fails_says_what_it_could_not_do(server, client):
    path = ".evaluate-driver"
    workflow = changed(recorded("retried"), f"{path}(0)", phase="Error", message="main: Error (exit code 1)")
    nodes = {
        key: node for key, node in workflow["status"]["nodes"].items() if not re.search(r"evaluate(\(|$)", node["name"])
    }
    workflow["status"]["nodes"] = nodes
    workflow = changed(workflow, path, phase="Error")
    server.logs[pod(workflow, f"{path}(0)")[0]] = (
        "I1124 10:25:21.0 1 main.go:67] {\nF1124 10:25:21.0 1 main.go:12] no MLMD\n"
    )
    (failure,) = find_failures(client, "x", parse_workflow(workflow))
    assert (failure.stage.name, failure.reason.text, failure.reason.log) == ("evaluate", "no MLMD", ["no MLMD"])


def test_the_end_of_the_log_follows_the_reason(server, call):
    workflow = broken("main: OOMKilled (exit code 137)")
    name, _ = pod(workflow, f"{TRAIN}(0).executor(0)")
    server.story = [("FAILED", workflow)]
    server.logs[name] = "\n".join(f"[KFP Executor 2026-11-24 10:25:21,137 INFO]: line {n}" for n in range(100))
    code, output, _ = call(*SUBMIT)
    assert code == 1
    assert output.endswith(
        f"\ntrain {MEMBERS[0]}, fold -1: out of memory: the stage may use 3Gi\n"
        + "".join(f"  line {n}\n" for n in range(70, 100))
    )


def test_what_fails_for_no_fault_of_the_user_is_retried_as_often_as_asked_for(server, call):
    failed = ("FAILED", broken("pod deleted", phase="Error"))
    server.story = [failed, ("RUNNING", recorded("retried")), failed, ("SUCCEEDED", recorded("retried"))]
    code, output, _ = call(*SUBMIT, "--tries", "3")
    (run,) = server.runs
    assert code == 0 and server.requests.count(f"POST /apis/v2beta1/runs/{run}:retry") == 2
    assert "try 2 of 3" in output and "try 3 of 3" in output

    server.story, server.requests = [failed], []
    code, output, _ = call(*SUBMIT, "--tries", "2")
    assert code == 1 and sum(request.endswith(":retry") for request in server.requests) == 1


def test_a_run_that_was_stopped_is_stopped_and_shows_no_logs(server, call):
    server.story = [("FAILED", recorded("stopped"))]
    code, output, _ = call(*SUBMIT, "--tries", "3")
    assert code == 1 and re.search(r"^run stopped after .*\n\Z", output, re.MULTILINE)
    assert not any(request.endswith(":retry") for request in server.requests)


def test_while_it_trains_the_epoch_the_figures_and_the_time_left_are_told(server, call):
    look = changed(recorded("retried"), f"{TRAIN}(0).executor(0)", phase="Running", finishedAt=None)
    look = changed(look, TRAIN, phase="Running")
    server.story = [("RUNNING", look)] * 3 + [("SUCCEEDED", recorded("retried"))]
    epochs = [(f"08:{minute}:00,5", minute - 20, loss) for minute, loss in ((21, 0.2), (23, 0.15), (25, 0.1))]
    name, _ = pod(look, f"{TRAIN}(0).executor(0)")
    server.artifacts = {}
    server.logs[name] = "\n".join(
        f"[KFP Executor 2026-11-24 {time} INFO]: epoch {epoch} of 6, 900 crops/s, loss {loss:.2f}, {60 - epoch} s left"
        for time, epoch, loss in epochs
    )
    server.logs[name] += "\n[KFP Executor 2026-11-24 08:26:00,1 INFO]: another message"
    _, output, _ = call(*SUBMIT)
    assert told(output).count(f"train {MEMBERS[0]}, fold -1: epoch 5 of 6, 900 crops/s, loss 0.10, 55 s left") == 1


def test_a_training_that_was_started_again_inside_its_pod_says_so_each_time(server, call, monkeypatch):
    monkeypatch.setattr(trainings, "EVERY", timedelta(0))
    look = changed(recorded("retried"), f"{TRAIN}(0).executor(0)", phase="Running", finishedAt=None)
    look = changed(look, TRAIN, phase="Running")
    said = [f"{supervisor.ENDED} because it was killed by SIGKILL; it will restart in {pause} s" for pause in (10, 60)]
    name, _ = pod(look, f"{TRAIN}(0).executor(0)")
    server.logs[name] = "\n".join(f"[KFP Executor 2026-11-24 08:20:00,5 WARNING]: {line}" for line in said)
    server.story = [("RUNNING", look)] * 4 + [("SUCCEEDED", recorded("retried"))]
    _, output, _ = call(*SUBMIT)
    assert [line for line in told(output) if "restart" in line] == [
        f"train {MEMBERS[0]}, fold -1: {line}" for line in said
    ]


def test_a_pod_of_no_stage_that_fails_is_named_with_what_it_could_not_do(server, call):
    workflow = changed(recorded("retried"), ".iteration-driver(0)", phase="Error", message="main: Error (exit code 1)")
    name, _ = pod(workflow, ".iteration-driver(0)")
    server.story, server.logs[name] = [("FAILED", workflow)], "F1124 10:25:21.0 1 main.go:12] no metadata service\n"
    _, output, _ = call(*SUBMIT)
    assert "\nKubeflow's own iteration-driver: no metadata service\n" in output


def test_a_run_is_followed_to_its_end_where_the_api_has_no_workflow(server, call):
    server.broken = {r"GET /apis/v1beta1/.*": (404, "Not Found")}
    code, output, _ = call("submit", "--data", "demo", "--wait")
    assert code == 0 and "run succeeded" in output and "this address provides no scores" in output


def test_a_server_that_stumbles_while_a_run_is_followed_is_asked_again(server, call):
    server.story = [("SUCCEEDED", recorded("cached"))]
    troubles = iter([(503, "upstream connect error")] * 3)
    server.broken = {r"GET /apis/v2beta1/runs/.*": lambda _: next(troubles, (200, None))}
    code, output, _ = call("submit", "--data", "demo", "--wait")
    assert code == 0 and "run succeeded" in output


def test_a_server_that_is_gone_for_long_ends_the_following_in_one_line(server, call, monkeypatch):
    monkeypatch.setattr(following, "PATIENCE", 0.05)
    server.broken = {r"GET /apis/v2beta1/runs/.*": (503, "upstream connect error")}
    code, _, error = call("submit", "--data", "demo", "--wait")
    assert code == 2 and error.count("\n") == 1 and "503" in error and "upstream connect error" in error
