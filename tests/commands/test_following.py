"""`submit --wait` against a server that answers as Kubeflow Pipelines does."""

import pytest
from kubeflow_server import node, pod_name

from audiotagging.members import DEMO
from commands.cluster import following

LOOP = "root.for-loop-1.iteration-iterations({0}:{0}).iteration-item."


def story():
    """A run of the first two demo members: what the server shows at each look, and the logs."""
    ingest, ensemble, evaluate = "root.ingest", "root.ensemble", "root.evaluate"
    first, second = LOOP.format(0) + "train", LOOP.format(1) + "train"
    running = {"kind": "Pod", "phase": "Running"}
    no_gpu = "Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    looks = [
        ("PENDING", []),
        ("RUNNING", [node(ingest, phase="Running"), node(f"{ingest}.executor(0)", **running)]),
        (
            "RUNNING",
            [
                node(ingest),
                node(first, phase="Running", started=1),
                node(f"{first}.executor(0)", **running),
                node(second, phase="Running", started=2),
                node(f"{second}.executor(0)", kind="Pod", phase="Pending", message=no_gpu),
            ],
        ),
        (
            "RUNNING",
            [
                node(ingest),
                node(first, phase="Running", started=1),
                node(f"{first}.executor(0)", kind="Pod", phase="Failed", message="main: Error (exit code 143)"),
                node(f"{first}.executor(1)", **running),
                node(second, started=2),
                node(f"{second}.executor", kind="Skipped", phase="Skipped"),
            ],
        ),
    ]
    last = [
        node(ingest),
        node(first, started=1),
        node(f"{first}.executor(0)", kind="Pod", phase="Failed", message="main: Error (exit code 143)"),
        node(f"{first}.executor(1)", kind="Pod"),
        node(second, started=2),
        node(f"{second}.executor", kind="Skipped", phase="Skipped"),
        node(ensemble, started=3),
        node(evaluate, started=4),
        node("root.evaluate-driver", kind="Pod", template="system-container-driver"),
        node(f"{evaluate}.executor(0)", kind="Pod"),
    ]
    log = "... INFO]: Looking\n[KFP Executor INFO]: lwlrap of the ensemble: all 0.7542, public 0.7420\nI0101 done\n"
    return [*looks, ("SUCCEEDED", last)], {pod_name(last[-1]): log}


@pytest.mark.parametrize("packed", [False, True])
def test_a_run_is_followed_with_a_line_a_change_to_its_scores(server, call, packed):
    server.story, server.logs = story()
    server.packed = packed
    members = [member.id for member in DEMO[:2]]
    code, output, _ = call("submit", "--data", "demo", "--members", *members, "--wait")
    assert code == 0
    assert output.splitlines()[1:] == [
        "ingest running",
        "ingest done",
        f"train {members[0]}, fold -1 running",
        f"train {members[1]}, fold -1 waiting: Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
        f"train {members[0]}, fold -1 running, try 2",
        f"train {members[1]}, fold -1 unchanged, taken from the cache",
        f"train {members[0]}, fold -1 done",
        "ensemble done",
        "evaluate done",
        "run succeeded",
        "lwlrap of the ensemble: all 0.7542, public 0.7420",
    ]


def test_a_run_in_which_nothing_changed_says_so(server, call):
    nodes = [node("root.evaluate"), node("root.evaluate.executor", kind="Skipped", phase="Skipped")]
    server.story = [("SUCCEEDED", nodes)]
    code, output, _ = call("submit", "--data", "demo", "--wait")
    assert code == 0
    assert "evaluate unchanged, taken from the cache" in output and "scores are those of the run before" in output


def test_a_run_that_fails_shows_why_and_the_end_of_the_log(server, call):
    train = LOOP.format(0) + "train"
    tries = [
        node(
            f"{train}.executor({number})",
            kind="Pod",
            phase="Failed",
            message="main: OOMKilled (exit code 137)",
            started=number,
        )
        for number in range(2)
    ]
    nodes = [
        node("root.preprocess"),
        node("root.preprocess.executor(0)", kind="Pod", phase="Failed", message="was mended by the next try"),
        node(train, phase="Failed"),
        *tries,
        node(
            "root.ensemble-driver", kind="Pod", phase="Error", message="pod deleted", template="system-container-driver"
        ),
    ]
    lines = [f"line {number}" for number in range(100)]
    server.story, server.logs = [("FAILED", nodes)], {pod_name(tries[1]): "\n".join(lines)}
    code, output, _ = call("submit", "--data", "demo", "--wait")
    assert code == 1
    assert f"train {DEMO[0].id}, fold -1: main: OOMKilled (exit code 137) (pod {pod_name(tries[1])})" in output
    assert output.count("OOMKilled") == 1 and "mended" not in output
    assert "line 99" in output and "line 50" not in output
    assert "ensemble: pod deleted" in output and f"kubectl logs {pod_name(nodes[-1])} -c main" in output


def test_a_run_without_nodes_that_fails_still_says_why(server, call):
    server.story = [("FAILED", [])]
    code, output, _ = call("submit", "--data", "demo", "--wait")
    assert code == 1 and "run failed" in output and "Run failed" in output


def test_a_run_is_followed_to_its_end_where_the_api_has_no_workflow(server, call):
    server.broken = {r"GET /apis/v1beta1/.*": (404, "Not Found")}
    code, output, _ = call("submit", "--data", "demo", "--wait")
    assert code == 0 and "run succeeded" in output and "its page shows the scores" in output


def test_a_server_that_stumbles_while_a_run_is_followed_is_asked_again(server, call):
    server.story, server.logs = story()
    troubles = iter([(503, "upstream connect error")] * 3)
    server.broken = {r"GET /apis/v2beta1/runs/.*": lambda _: next(troubles, (200, None))}
    code, output, _ = call("submit", "--data", "demo", "--wait")
    assert code == 0 and "run succeeded" in output


def test_a_server_that_is_gone_for_long_ends_the_following_in_one_line(server, call, monkeypatch):
    monkeypatch.setattr(following, "PATIENCE", 0.05)
    server.broken = {r"GET /apis/v2beta1/runs/.*": (503, "upstream connect error")}
    code, _, error = call("submit", "--data", "demo", "--wait")
    assert code == 2 and error.count("\n") == 1 and "503" in error and "upstream connect error" in error


def test_the_stage_of_a_node_is_found_in_its_path():
    paths = {
        "w.root.train-driver": "train",
        LOOP.format(3) + "predict.executor(1)": "predict",
        LOOP.format(3) + "predict-driver": "predict",
        "w.root.for-loop-1.iteration-driver": "iteration-driver",
    }
    assert {path: following.stage_of(path) for path in paths} == paths
