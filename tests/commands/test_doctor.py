"""`doctor` and the quick half of it in `submit`, against servers that answer as Kubeflow and Kubernetes do."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from helpers.background import running
from helpers.kubernetes_server import (
    APPS,
    CORE,
    OWN,
    PROGRAMS,
    QUEUES,
    UID,
    KubernetesServer,
    claim,
    deployment,
    listed,
    node,
    pod,
    queue,
    quota,
    secret,
)

from commands import kfp_internals
from commands.cluster.checks import images, probe, servers
from commands.cluster.kubernetes import UnseenError
from components.images import image

PAGE, CLAIM = "ml-pipeline-ui-58f49cd759-t9qvx", f"{CORE}/persistentvolumeclaims/audiotagging-audio"
SWF = "/apis/kubeflow.org/v1beta1/namespaces/kubeflow/scheduledworkflows"
KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
S3 = ["--data", "s3://bucket/clips", "--secret", "store"]
STAGES = [image(target, registry="", torch="cuda") for target in ("data", "training", "results", "tagging")]
IMAGES = [*STAGES, *OWN]
SEEN = {"folders": {"/audio": [40e9, 271e9, True], "/champions": [40e9, 271e9, True]}, "urls": {}}


@pytest.fixture
def kubernetes(server, tmp_path, monkeypatch):
    """Kubernetes with the Kubeflow of the other server, as kubectl's context names it."""
    monkeypatch.setattr(probe, "POLL", 0.01)
    server.uids = {PAGE: UID}
    with running(KubernetesServer([*(f"docker.io/library/{name}" for name in STAGES), *OWN])) as kubernetes:
        kubernetes.write_kubeconfig(tmp_path / "kubeconfig")
        kubernetes.log = json.dumps(SEEN)
        yield kubernetes


@pytest.fixture
def doctor(call, monkeypatch):
    """Return a function that runs `doctor`, and returns its exit code and the rows that are not ok, as texts."""
    monkeypatch.setenv("COLUMNS", "2000")

    def run(*options, **more):
        code, output, error = call("doctor", *options, **more)
        assert not error
        table = output.split("\n\n")[0].replace("\n" + " " * 2, "\n ")
        rows = []
        for line in table.splitlines():
            if line.startswith(" "):
                rows[-1] += " " + line.strip()
            else:
                rows.append(" ".join(line.split()))
        return code, [row for row in rows if " ok " not in row]

    return run


def test_all_is_well(kubernetes, doctor, server):
    code, rows = doctor("--probe")
    assert (code, rows) == (0, [])
    assert f"DELETE {CORE}/pods/audiotagging-doctor-x" in kubernetes.requests
    assert not server.runs and not server.experiments and not server.pipelines


def test_every_row_has_a_state_and_what_was_found(kubernetes, call):
    _, output, _ = call("doctor")
    rows = [line.split() for line in output.split("\n\n")[0].splitlines() if not line.startswith(" ")]
    assert len(rows) == 26 and all({"ok", "not"} & set(row) for row in rows)
    assert output.endswith("\n1 not seen, 25 ok\n")


WRONG = {
    "no secret": (S3, {}, "secret store wrong it does not exist in kubeflow; stages would wait for it -> kubectl -n"),
    "wrong key": (
        S3,
        {f"{CORE}/secrets/store": secret(AWS_ACCESS_KEY="a", AWS_SECRET_ACCESS_KEY="b")},
        "secret store wrong expected AWS_ACCESS_KEY_ID in it, found AWS_ACCESS_KEY -> delete it, and kubectl",
    ),
    "empty key": (
        S3,
        {f"{CORE}/secrets/store": secret(AWS_ACCESS_KEY_ID=" \n", AWS_SECRET_ACCESS_KEY="b")},
        "secret store wrong expected AWS_ACCESS_KEY_ID in it, found AWS_ACCESS_KEY_ID (empty) ->",
    ),
    "half a key": (
        S3,
        {f"{CORE}/secrets/store": secret(AWS_ACCESS_KEY_ID="a")},
        "secret store wrong expected AWS_SECRET_ACCESS_KEY in it, found AWS_ACCESS_KEY_ID ->",
    ),
    "another store's key": (
        S3,
        {f"{CORE}/secrets/store": secret(AZURE_STORAGE_KEY="a", other="b")},
        "secret store wrong expected AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in it, found other ->",
    ),
    "a path for a key file": (
        ["--data", "gs://bucket/clips", "--secret", "store"],
        {f"{CORE}/secrets/store": secret(GOOGLE_APPLICATION_CREDENTIALS="/home/ann/key.json")},
        "secret store wrong GOOGLE_APPLICATION_CREDENTIALS in it is not the content of a key file, which is JSON ->",
    ),
    "no keys": (
        ["--secret", "store"],
        {f"{CORE}/secrets/store": {}},
        "secret store wrong expected keys with the names of the stores' variables in it, found no keys ->",
    ),
    "no secret to notify": (
        ["--notify-secret", "hook"],
        {f"{CORE}/secrets/hook": secret(URL="x")},
        "secret hook wrong it has no AUDIOTAGGING_NOTIFY, so nobody would be told",
    ),
    "no claim": (
        ["--pvc", "mine"],
        {},
        "claim mine wrong it does not exist in kubeflow; stages would wait for it -> `make manifests",
    ),
    "a claim without a volume": (
        [],
        {
            CLAIM: claim(phase="Pending"),
            f"{CORE}/events": listed(
                {"reason": "Old", "message": "older", "lastTimestamp": "2026-12-01T03:00:00Z"},
                {
                    "type": "Warning",
                    "reason": "ProvisioningFailed",
                    "message": 'storageclass.storage.k8s.io "nosuch" not found',
                    "lastTimestamp": "2026-12-01T03:01:00Z",
                },
            ),
        },
        'claim audiotagging-audio wrong it is Pending, not bound: storageclass.storage.k8s.io "nosuch" not found -> ',
    ),
    "a claim that is being deleted": (
        [],
        {CLAIM: claim() | {"metadata": {"deletionTimestamp": "2026-12-01T03:00:00Z"}}},
        "claim audiotagging-audio wrong it is being deleted -> kubectl -n kubeflow describe pvc audiotagging-audio",
    ),
    "no account": (
        [],
        {f"{CORE}/serviceaccounts/pipeline-runner": None},
        "the stages' account wrong there is no account pipeline-runner in kubeflow",
    ),
    "a program of Kubeflow": (
        [],
        {APPS: listed(deployment("workflow-controller", ready=0))},
        "Kubeflow's programs wrong workflow-controller has no pod that is ready -> kubectl -n kubeflow describe",
    ),
    "no namespace": ([], {CORE: None}, "namespace wrong there is no namespace kubeflow in the cluster of kubectl's"),
    "no label": (
        [],
        {"/api/v1/nodes": listed(node(label=False, images=IMAGES))},
        "GPUs wrong no node has the label nvidia.com/gpu.present=true; GPUs are on vm -> kubectl label node vm nvidia",
    ),
    "no GPU at all": (
        [],
        {"/api/v1/nodes": listed(node(label=False, gpus="", images=IMAGES))},
        "GPUs wrong no node has the label nvidia.com/gpu.present=true; no node has a GPU -> --gpus 0 to train on CPUs",
    ),
    "no device plugin": (
        [],
        {"/api/v1/nodes": listed(node(gpus="", images=IMAGES))},
        "GPUs wrong no node with the label nvidia.com/gpu.present=true is ready and has 1 GPU ->",
    ),
    "too many GPUs": (
        ["--gpus", "3"],
        {},
        "GPUs wrong no node with the label nvidia.com/gpu.present=true is ready and",
    ),
    "a taint": (
        [],
        {"/api/v1/nodes": listed(node(images=IMAGES, taints=[{"key": "team", "effect": "NoSchedule"}]))},
        "nodes wrong no node is ready and takes pods",
    ),
    "small nodes": (
        [],
        {"/api/v1/nodes": listed(node(images=IMAGES, cpu="2", memory="8039012Ki"))},
        "nodes wrong 1 node, the largest with 2 CPUs and 8 GiB of memory: too small for",
    ),
    "a small quota": (
        ["--gpus", "2"],
        {
            f"{CORE}/resourcequotas": listed(
                {"metadata": {"name": "q"}, "status": {"hard": {"requests.nvidia.com/gpu": "1"}}}
            )
        },
        "quota q wrong 0 of 1 GPUs are in use; a training needs 2, and would never start -> kubectl -n kubeflow edit",
    ),
    "no image": (
        ["--torch", "cpu"],
        {},
        f"image training wrong {image('training', registry='', torch='cpu')} is on no node, and without a registry",
    ),
    "no Kueue": (
        ["--queue", "audiotagging"],
        {"/apis/kueue.x-k8s.io": None},
        "Kueue queue audiotagging wrong Kueue is not installed",
    ),
    "no queue": (
        ["--queue", "other"],
        {},
        "Kueue queue other wrong there is no such LocalQueue in kubeflow, but audiotagging; stages would wait for ever",
    ),
    "a queue that is not active": (
        ["--queue", "audiotagging"],
        {QUEUES: listed(queue(active="False", message="Can not submit new workloads to clusterQueue"))},
        "Kueue queue audiotagging wrong it is not active: Can not submit new workloads to clusterQueue -> kubectl desc",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_would_make_a_run_fail_is_found(kubernetes, doctor, case):
    options, objects, expected = WRONG[case]
    kubernetes.objects.update(objects)
    kubernetes.objects = {path: content for path, content in kubernetes.objects.items() if content is not None}
    code, rows = doctor(*options)
    assert code == 2 and any(row.startswith(expected) for row in rows), rows


WARNINGS = {
    "identity": (
        S3,
        {f"{CORE}/secrets/store": secret(AWS_ENDPOINT_URL="http://minio:9000")},
        "secret store warning has AWS_ENDPOINT_URL, which is enough only if the pods have an identity",
    ),
    "a volume in the making": (
        [],
        {
            CLAIM: claim(phase="Pending"),
            f"{CORE}/events": listed(
                {
                    "type": "Normal",
                    "reason": "ExternalProvisioning",
                    "message": "Waiting for a volume to be created",
                    "lastTimestamp": "2026-12-01T03:01:00Z",
                }
            ),
        },
        "claim audiotagging-audio warning it is Pending, not bound: Waiting for a volume to be created -> kubectl",
    ),
    "Kubeflow's programs elsewhere": (
        [],
        {APPS: listed(*(deployment(name) for name in PROGRAMS if name != "workflow-controller"))},
        "Kubeflow's programs warning workflow-controller not in the namespace kubeflow; no run starts and ends without",
    ),
    "several nodes": (
        [],
        {
            CLAIM: claim(modes=["ReadWriteOnce"]),
            "/api/v1/nodes": listed(node(images=IMAGES), node("vm2", images=IMAGES)),
        },
        "sharing of volumes warning audiotagging-audio can be mounted on one node at a time, and there are 2",
    ),
    "no free GPU": (
        [],
        {"/api/v1/pods": listed(pod(), pod(), pod(node="elsewhere"))},
        "GPUs warning 0 of 2 on 1 node with the label nvidia.com/gpu.present=true are free: trainings would wait",
    ),
    "a used quota": (
        [],
        {f"{CORE}/resourcequotas": listed(quota(hard="1", used="1"))},
        "quota q warning 1 of 1 GPUs are in use: trainings would wait",
    ),
    "an image on one node": (
        [],
        {"/api/v1/nodes": listed(node(images=IMAGES), node("vm2", images=OWN))},
        f"image data warning {IMAGES[0]} is on 1 of 2 nodes, and the others cannot pull it -> make push",
    ),
    "a silent Kueue": (
        ["--queue", "audiotagging"],
        {QUEUES: listed(queue() | {"status": {}})},
        "Kueue queue audiotagging warning Kueue has not said yet whether it is active",
    ),
    "an identity in the cloud": (["--data", "s3://bucket/x"], {}, "secret not seen whether the pods have an identity"),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_what_could_hold_a_run_up_is_a_warning(kubernetes, doctor, case):
    options, objects, expected = WARNINGS[case]
    kubernetes.objects.update(objects)
    code, rows = doctor(*options)
    assert code == 0 and any(row.startswith(expected) for row in rows), rows


def test_right_secrets_are_told_by_their_keys_and_never_by_their_values(kubernetes, call):
    kubernetes.objects[f"{CORE}/secrets/store"] = secret(**KEYS, AWS_ENDPOINT_URL="http://minio:9000", owner="ann")
    kubernetes.objects[f"{CORE}/secrets/hook"] = secret(AUDIOTAGGING_NOTIFY="https://chat.example/4f0c1a")
    code, output, error = call("doctor", *S3, "--notify-secret", "hook")
    assert (
        code == 0
        and "has AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, AWS_SECRET_ACCESS_KEY; owner is not used"
        in " ".join(output.split())
    )
    assert "4f0c1a" not in output + error and "minio" not in output + error


@pytest.mark.parametrize("refused", ["create workflowtaskresults", "get workflows"])
def test_what_the_account_of_the_stages_may_not_do_is_named(kubernetes, doctor, refused):
    kubernetes.refused = {refused}
    code, rows = doctor()
    assert code == 2 and rows[0].startswith(
        f"the stages' account wrong pipeline-runner may not {refused} in kubeflow ->"
    )


def test_what_the_user_may_not_see_is_said_and_nothing_else_suffers(kubernetes, doctor, monkeypatch):
    def unseen(image):
        raise UnseenError("the registry does not answer from here")

    monkeypatch.setattr(images, "registry_has", unseen)
    kubernetes.forbidden = "/secrets/|^/api/v1/nodes|/localsubjectaccessreviews"
    code, rows = doctor(*S3)
    assert code == 0 and {row.partition(" not seen ")[0] for row in rows} == {
        *("the stages' account", "secret", "nodes", "sharing of volumes", "GPUs"),
        *("image data", "image training", "image results", "image kfp-driver", "image kfp-launcher"),
        *("image argoexec", "probe"),
    }
    assert "secret not seen ann may not get secrets in the namespace kubeflow -> an administrator" in " ".join(rows)


def test_without_a_kubeconfig_each_row_says_that_it_is_not_seen(server, doctor):
    code, rows = doctor()
    assert code == 0 and rows[0].startswith("Kubernetes not seen there is no kubeconfig -> a kubeconfig")
    assert len(rows) == 14 and all(" not seen " in row for row in rows)


def test_kubernetes_that_does_not_answer_is_not_seen(kubernetes, doctor, tmp_path):
    config = (tmp_path / "kubeconfig").read_text()
    (tmp_path / "kubeconfig").write_text(config.replace(str(kubernetes.server_port), "1"))
    code, rows = doctor()
    assert code == 0 and "127.0.0.1:1 (context kind-audiotagging of kubectl) does not answer" in rows[0]
    (tmp_path / "kubeconfig").write_text("contexts: 3")
    assert doctor()[1][0].startswith("Kubernetes not seen the kubeconfig cannot be used")


@pytest.mark.parametrize("uid", ["another", None])
def test_another_cluster_of_kubectl_is_not_looked_at(kubernetes, server, doctor, call, uid):
    server.uids = {PAGE: uid}
    kubernetes.objects[CLAIM] = claim(phase="Pending")
    code, rows = doctor()
    assert code == 0 and rows[0].startswith(
        "Kubernetes not seen context kind-audiotagging of kubectl is another cluster than that of this Kubeflow -> "
    )
    assert call("submit", "--data", "demo")[0] == 0


def test_where_nobody_says_whether_it_is_the_same_cluster_it_is_taken_for_it(kubernetes, server, doctor):
    server.page = False
    kubernetes.objects[CLAIM] = claim(phase="Pending")
    code, rows = doctor()
    assert code == 0 and rows[0].startswith("Kubeflow's page warning this address is that of the API alone")
    assert rows[1].startswith("Kubernetes not seen whether context kind-audiotagging of kubectl is the cluster of this")
    assert any(row.startswith("claim audiotagging-audio warning") for row in rows)


def test_a_page_without_its_api_is_wrong(kubernetes, server, doctor):
    server.ready = False
    server.broken = {"GET /apis/v2beta1/(experiments|recurringruns)": (504, {"message": "Gateway Timeout"})}
    code, rows = doctor()
    assert code == 2 and [row.partition(" wrong ")[0] for row in rows[:3]] == [
        *("Kubeflow's API", "your role in Kubeflow", "schedules"),
    ]
    assert "(ml-pipeline) does not -> kubectl" in rows[0] and "answered 504" in rows[1]


def test_kubernetes_says_why_kubeflow_does_not_answer(kubernetes, doctor):
    kubernetes.objects[APPS]["items"][1]["status"] = {}
    code, rows = doctor(host="http://127.0.0.1:1")
    assert code == 2 and rows[0].startswith("Kubeflow's API wrong http://127.0.0.1:1: no answer from Kubeflow")
    assert " -> check the address" in rows[0]
    assert [row for row in rows if " wrong " in row][1].startswith(
        "Kubeflow's programs wrong ml-pipeline-ui has no pod"
    )


@pytest.mark.parametrize(
    ("tag", "state"), [("2.17.0", None), ("2.18.1", "warning"), ("2.16.0", "wrong"), ("", "warning")]
)
def test_versions_that_were_not_seen_are_a_warning(kubernetes, server, doctor, tag, state):
    server.health["tag_name"] = tag
    code, rows = doctor()
    assert code == (2 if state == "wrong" else 0)
    assert not state or rows[0].startswith(f"Kubeflow's API {state}")


def test_another_sdk_is_a_warning(kubernetes, doctor, monkeypatch):
    monkeypatch.setattr(servers.kfp, "__version__", "2.17.9")
    assert doctor()[1][0].startswith("the SDK kfp warning 2.17.9: this project was not seen to work with it, but with")


def test_users_and_their_namespaces(kubernetes, server, doctor):
    server.health["multi_user"] = True
    code, rows = doctor()
    assert code == 2 and rows[0].endswith("this Kubeflow has users -> name your namespace with --namespace")
    server.broken = {"GET /apis/v2beta1/experiments": (403, {"message": "not allowed"})}
    code, rows = doctor("--namespace", "elsewhere")
    assert code == 2 and rows[0].startswith(
        "your role in Kubeflow wrong Kubeflow refuses to list the experiments of else"
    )
    said = " ".join(rows)
    assert "namespace wrong there is no namespace elsewhere in the cluster" in said
    assert "claims not seen there is no namespace elsewhere" in said


@pytest.mark.parametrize(("seconds", "said"), [(-7200, "2 h 0 min behind"), (600, "10 min ahead of"), (20, None)])
def test_a_clock_that_is_off_is_a_warning(kubernetes, server, doctor, seconds, said):
    server.ahead = seconds
    code, rows = doctor()
    assert code == 0 and any(row.startswith("the clock warning") for row in rows) == bool(said)
    assert not said or f"that of the cluster is {said} that of this machine" in rows[0]


def test_schedules_are_listed_with_their_next_start(kubernetes, server, call):
    for name, options in (("nightly", ["--cron", "0 0 3 * * *"]), ("hourly", ["--every", "1h"])):
        assert call("schedule", "--data", "demo", "--name", name, *options)[0] == 0
    call("schedule", "--pause", "--name", "hourly")
    (uid,) = (key for key, each in server.schedules.items() if each["display_name"] == "nightly")
    at = datetime.now(UTC) + timedelta(hours=2, seconds=10)
    status = {"trigger": {"nextTriggeredTime": f"{at:%Y-%m-%dT%H:%M:%SZ}"}}
    kubernetes.objects[SWF] = listed(
        {"metadata": {"uid": "x"}, "status": status}, {"metadata": {"uid": uid}, "status": status}
    )
    output = " ".join(call("doctor")[1].split())
    assert f"schedule nightly ok 0 0 3 * * *, on; starts next at {at:%Y-%m-%d %H:%M} UTC, in 2 h 0 min" in output
    assert "schedule hourly ok every 3600 s, paused" in output


PROBES = {
    "full": ([50e6, 100e9, True], "wrong", "50 MB of 100 GB are free: it is full"),
    "nearly full": ([8e9, 100e9, True], "warning", "8 GB of 100 GB are free: it is nearly full"),
    "small": ([3e9, 20e9, True], "warning", "3 GB of 20 GB are free, which is less than 5.37 GB"),
    "read-only": (
        [50e9, 100e9, False],
        "wrong",
        "user 1000, as which the stages run, may not write to it; 50 GB of 100",
    ),
}


@pytest.mark.parametrize("case", PROBES)
def test_a_pod_sees_the_space_on_the_volumes(kubernetes, doctor, case):
    values, state, said = PROBES[case]
    kubernetes.log = json.dumps({"folders": {"/audio": values}, "urls": {}})
    code, rows = doctor("--probe")
    assert code == (2 if state == "wrong" else 0)
    assert rows[0].startswith(f"space on audiotagging-audio {state} {said}")


def test_a_pod_opens_the_stores_with_the_secret(kubernetes, doctor):
    kubernetes.objects[f"{CORE}/secrets/store"] = secret(**KEYS)
    said = "s3://bucket/clips cannot be read: access is denied"
    kubernetes.log = json.dumps({"folders": {}, "urls": {"s3://bucket/clips": said}})
    code, rows = doctor(*S3, "--probe")
    assert code == 2 and rows[0].startswith("store bucket wrong s3://bucket/clips: cannot be read: access is denied ->")
    spec = kubernetes.body["spec"]
    assert {"name": "secret", "secret": {"secretName": "store"}} in spec["volumes"]
    assert [each["persistentVolumeClaim"]["claimName"] for each in spec["volumes"][:-1]] == [
        f"audiotagging-{name}" for name in ("audio", "checkpoints", "champions")
    ]


def test_what_the_pod_runs_prints_what_it_sees(tmp_path, s3, capsys, monkeypatch):
    (tmp_path / "a.wav").write_bytes(b"sound")
    s3.put(tmp_path, "clips")
    urls = ["s3://bucket/clips", "s3://bucket/nothing", "s3://bucket/out", "s3://nosuch/clips"]
    monkeypatch.setattr("sys.argv", ["-c", json.dumps([[str(tmp_path)], urls, [*urls[:2], urls[3]]])])
    exec(probe.CODE, {})
    seen = json.loads(capsys.readouterr().out)
    assert seen["folders"][str(tmp_path)][2] is True and seen["folders"][str(tmp_path)][0] > 0
    assert seen["urls"] == {
        urls[0]: "",
        urls[1]: "there is nothing of this name in the store",
        urls[2]: "",
        urls[3]: "there is nothing of this name in the store",
    }


PULL = 'Failed to pull image "host/x:1": dial tcp: lookup host: no such host'
WAITING = {
    "image": (
        {"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]},
        [("Warning", "Failed", PULL)],
        "wrong a pod like those of the stages waits for the image host/x:1, which cannot be pulled: no such host -> ",
    ),
    "slow pull": (
        {},
        [("Normal", "Pulling", 'Pulling image "host/x:1"')],
        "not seen a pod like those of the stages wait",
    ),
    "Kueue": (
        {"spec": {"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]}},
        [],
        "wrong a pod like those of the stages waits for Kueue -> ",
    ),
    "silence": (
        {},
        [],
        "not seen a pod like those of the stages has not ended after 0 s, and Kubernetes",
    ),
}


@pytest.mark.parametrize("case", WAITING)
def test_why_the_pod_does_not_start_is_said_and_it_is_deleted(kubernetes, doctor, monkeypatch, case):
    status, events, expected = WAITING[case]
    monkeypatch.setattr(probe, "SECONDS", 0)
    kubernetes.pod = {"phase": "Pending", **status}
    kubernetes.objects[f"{CORE}/events"] = listed(
        *({"type": kind, "reason": reason, "message": message, "metadata": {}} for kind, reason, message in events)
    )
    code, rows = doctor("--probe")
    assert code == (2 if expected.startswith("wrong") else 0) and rows[0].startswith(f"probe {expected}")
    assert f"DELETE {CORE}/pods/audiotagging-doctor-x" in kubernetes.requests


def test_a_pod_that_fails_says_its_last_line_and_none_is_started_to_wait(kubernetes, doctor):
    kubernetes.pod, kubernetes.log = {"phase": "Failed"}, "Traceback\nModuleNotFoundError: No module named 'x'\n"
    code, rows = doctor("--probe")
    assert code == 2 and "failed: ModuleNotFoundError: No module named 'x'" in rows[0]
    kubernetes.requests.clear()
    assert "no pod was started, because it would wait" in doctor("--probe", "--pvc", "nosuch")[1][-1]
    assert f"POST {CORE}/pods" not in kubernetes.requests


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (True, (0, [])),
        (
            False,
            (
                2,
                ["image training wrong its registry has no ghcr.io/team/audiotagging-training:TAG -> make"],
            ),
        ),
        (
            UnseenError("it does not answer"),
            (0, ["image training not seen whether ghcr.io/team/audiotagging-training:TAG can"]),
        ),
    ],
)
def test_registries_are_asked_for_images_that_are_not_on_all_nodes(kubernetes, doctor, monkeypatch, answer, expected):
    def has(image):
        assert image.startswith("ghcr.io/team/audiotagging-training:")
        if isinstance(answer, UnseenError):
            raise answer
        return answer

    monkeypatch.setattr(images, "registry_has", has)
    names = [*(f"ghcr.io/team/{name}" for name in STAGES if "training" not in name), *OWN]
    kubernetes.objects["/api/v1/nodes"] = listed(node(images=names))
    code, rows = doctor("--registry", "ghcr.io/team")
    rows = [row.replace(IMAGES[1].partition(":")[2], "TAG") for row in rows if row.startswith("image")]
    assert code == expected[0] and len(rows) == len(expected[1])
    assert all(row.startswith(start) for row, start in zip(rows, expected[1], strict=True))


@pytest.mark.parametrize("names", [[[str(number)] for number in range(50)], [["a", "b", "c", "d", "e"]]])
def test_a_list_of_images_that_is_cut_short_proves_nothing(kubernetes, doctor, names):
    cut = node()
    cut["status"]["images"] = [{"names": each} for each in [*names, *([name] for name in OWN)]]
    kubernetes.objects["/api/v1/nodes"] = listed(cut)
    code, rows = doctor()
    assert code == 0 and rows[0].startswith(f"image data not seen {IMAGES[0]} is not among the images that Kubernetes")


def test_the_images_that_kubeflow_adds_to_pods_are_looked_for(kubernetes, doctor, monkeypatch):
    monkeypatch.setattr(images, "registry_has", lambda image: "argoexec" not in image)
    kubernetes.objects["/api/v1/nodes"] = listed(node(images=[*STAGES, OWN[0]]))
    code, rows = doctor()
    assert code == 2 and [row for row in rows if row.startswith("image")] == [
        f"image argoexec wrong its registry has no {OWN[2]} -> bring it onto the nodes, which report it within a minute"
    ]


def test_submit_refuses_what_would_wait_for_ever(kubernetes, server, call):
    code, _, error = call("submit", "--data", "demo", "--secret", "nosuch", "--pvc", "mine")
    assert code == 2 and not server.runs and not server.pipelines
    assert error == (
        "error: nothing was submitted. secret nosuch: it does not exist in kubeflow; stages would wait for it. claim "
        "mine: it does not exist in kubeflow; stages would wait for it. `audiotagging doctor` with the same options "
        "says what to do\n"
    )


def test_submit_asks_nothing_that_needs_a_role_for_the_cluster_and_says_what_it_did_not_see(
    kubernetes, server, call, caplog
):
    assert call("submit", "--data", "demo")[0] == 0 and not caplog.messages
    assert not [request for request in kubernetes.requests if "/nodes" in request or request.endswith("/v1/pods")]
    kubernetes.forbidden = "/persistentvolumeclaims/"
    assert call("submit", "--data", "demo")[0] == 0
    assert caplog.messages == [
        "not checked before the submission: claims (ann may not get persistentvolumeclaims in the namespace kubeflow)"
    ]
    assert len(server.runs) == 2


def test_a_claim_that_waits_for_its_first_pod_is_well(kubernetes, doctor):
    event = {
        "type": "Normal",
        "reason": "WaitForFirstConsumer",
        "message": "waiting for first consumer",
        "metadata": {},
    }
    kubernetes.objects |= {CLAIM: claim(phase="Pending"), f"{CORE}/events": listed(event)}
    code, rows = doctor()
    assert code == 0 and not any(row.startswith("claim") for row in rows)


def test_the_pipeline_tagging_has_its_own_claims_and_stages(kubernetes, doctor):
    del kubernetes.objects[f"{CORE}/persistentvolumeclaims/audiotagging-tags"]
    assert doctor()[0] == 0
    code, rows = doctor("--pipeline", "tagging", "--data", "new", "--out", "s3://bucket/tags")
    assert code == 2 and any(row.startswith("claim audiotagging-tags wrong") for row in rows)
    assert any(row.startswith("secret not seen whether the pods have an identity") for row in rows)


def test_the_stages_of_a_pipeline():
    import pipeline

    assert {"ingest", "train", "conclude"} <= set(kfp_internals.stages_of(pipeline.PIPELINES["training"]))
