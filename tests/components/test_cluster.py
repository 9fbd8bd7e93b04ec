"""The pipelines as they are compiled for clusters."""

import pytest
import yaml
from kfp import compiler

import pipeline
from audiotagging.artifacts.last_run import IMAGES
from audiotagging.base.object_store import SECRET
from commands import main
from components.cluster import NEEDS, Cluster, on_cluster
from components.images import image

GPU_STAGES = {"train", "predict", "rescore", "tag"}
VOLUMES = {
    "ingest": {"/audio": "audiotagging-audio", "/champions": "audiotagging-champions"},
    "preprocess": {"/audio": "audiotagging-audio"},
    "select": {"/audio": "audiotagging-audio"},
    "notify": {"/champions": "audiotagging-champions"},
    "rescore": {"/champions": "audiotagging-champions"},
    "promote": {"/champions": "audiotagging-champions"},
    "conclude": {"/champions": "audiotagging-champions"},
    "train": {
        "/audio": "audiotagging-audio",
        "/checkpoints": "audiotagging-checkpoints",
        "/champions": "audiotagging-champions",
    },
    "find": {"/audio": "audiotagging-audio", "/champions": "audiotagging-champions", "/tags": "audiotagging-tags"},
    "tag": {"/audio": "audiotagging-audio", "/champions": "audiotagging-champions", "/tags": "audiotagging-tags"},
    "collect": {"/champions": "audiotagging-champions", "/tags": "audiotagging-tags"},
}
UNCACHED = {"ingest", "rescore", "promote", "notify", "evaluate", "conclude", "find", "tag", "collect"}
STORES = {"ingest", "train", "find", "tag", "collect"}
HOOK = "https://chat.example.org/hooks/a-secret"
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "m": 0.001}


class Compiled:
    """The compiled pipelines, with what is said of each stage in its three places: the container, the pod, the task."""

    def __init__(self, paths):
        self.containers, self.pods, self.tasks, self.specs, self.configs = {}, {}, {}, {}, {}
        for name, path in paths.items():
            spec, platform = yaml.safe_load_all(path.read_text())
            kubernetes = platform["platforms"]["kubernetes"]
            self.specs[name], self.configs[name] = spec, kubernetes["pipelineConfig"]
            executors = spec["deploymentSpec"]["executors"]
            self.containers |= {stage.removeprefix("exec-"): each["container"] for stage, each in executors.items()}
            pods = kubernetes["deploymentSpec"]["executors"]
            self.pods |= {stage.removeprefix("exec-"): pod for stage, pod in pods.items()}
            dags = [spec["root"]["dag"], *(part["dag"] for part in spec["components"].values() if "dag" in part)]
            tasks = {stage: task for dag in dags for stage, task in dag["tasks"].items()}
            self.tasks |= {stage: task for stage, task in tasks.items() if stage in self.containers}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Return a function that compiles the pipelines with options, each set of options once."""
    done = {}

    def compile_with(*options):
        if options not in done:
            paths = {name: tmp_path_factory.mktemp("compiled") / f"{name}.yaml" for name in pipeline.PIPELINES}
            for name, path in paths.items():
                notify = [] if "--notify-secret" in options else ["--notify", HOOK]
                arguments = ["-o", str(path), "--pipeline", name, *notify, *options]
                assert main(pipeline.PIPELINES, ["compile", *arguments]) == 0
            done[options] = Compiled(paths)
        return done[options]

    return compile_with


def quantity(text):
    """Return a Kubernetes quantity as a number."""
    unit = next((unit for unit in UNITS if text.endswith(unit)), "")
    return float(text.removesuffix(unit)) * UNITS.get(unit, 1)


def test_ingest_knows_the_images_of_all_stages(compiled):
    """In the environment, where whoever starts a run again with other arguments cannot change them."""
    containers = compiled("--torch", "cuda", "--registry", "ghcr.io/team").containers
    environment = {each["name"]: each["value"] for each in containers["ingest"]["env"]}
    assert set(environment[IMAGES].split()) == {
        containers[stage]["image"] for stage in NEEDS if stage not in {"find", "tag", "collect"}
    }


@pytest.mark.parametrize("stage", NEEDS)
@pytest.mark.parametrize("gpus", [0, 1, 2])
def test_training_and_prediction_ask_for_gpus_if_there_are_any(compiled, stage, gpus):
    compiled = compiled("--gpus", str(gpus))
    resources, pod = compiled.containers[stage]["resources"], compiled.pods[stage]
    if gpus and stage in GPU_STAGES:
        assert resources["accelerator"]["resourceType"] == "nvidia.com/gpu"
        assert resources["accelerator"]["resourceCount"] == str(gpus)
        assert pod["nodeSelector"] == {"labels": {"nvidia.com/gpu.present": "true"}}
        assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    else:
        assert "accelerator" not in resources
        assert "nodeSelector" not in pod and "tolerations" not in pod


def test_a_stage_gets_the_items_of_another_stages_list_as_strings(compiled):
    # Kubeflow's driver has strings there, and refuses to start a stage that expects numbers.
    inputs = compiled().specs["tagging"]["components"]["comp-tag"]["inputDefinitions"]["parameters"]
    assert inputs["shard"]["parameterType"] == "STRING"


@pytest.mark.parametrize("stage", sorted(GPU_STAGES))
def test_stages_with_gpus_go_to_the_nodes_that_the_label_names(compiled, stage):
    pods = compiled("--gpu-label", "example.org/gpu=a100").pods
    assert pods[stage]["nodeSelector"] == {"labels": {"example.org/gpu": "a100"}}


@pytest.mark.parametrize("stage", NEEDS)
@pytest.mark.parametrize("options", [(), ("--small",)])
def test_every_stage_has_requests_and_limits(compiled, stage, options):
    resources, needs = compiled(*options).containers[stage]["resources"], NEEDS[stage]
    names = [f"resource{name}{kind}" for name in ("Cpu", "Memory") for kind in ("Request", "Limit")]
    found = [quantity(resources[name]) for name in names]
    memory = needs.memory * 2**30
    assert found == ([0.25, 2, 2**30, 3 * 2**30] if options else [needs.cpu, 2 * needs.cpu, memory, memory])


@pytest.mark.parametrize("stage", NEEDS)
@pytest.mark.parametrize("options", [(), ("--small",)])
def test_threads_are_as_many_as_the_cores_that_a_stage_is_guaranteed(compiled, stage, options):
    container = compiled(*options).containers[stage]
    (threads,) = [int(each["value"]) for each in container["env"] if each["name"] == "OMP_NUM_THREADS"]
    assert threads == max(1, quantity(container["resources"]["resourceCpuRequest"]))


@pytest.mark.parametrize("stage", NEEDS)
def test_every_stage_runs_as_the_user_of_its_image(compiled, stage):
    context = compiled().pods[stage]["securityContext"]
    assert context == {"runAsUser": "1000", "runAsGroup": "1000", "runAsNonRoot": True}


@pytest.mark.parametrize("stage", NEEDS)
def test_volumes_are_mounted_where_they_are_needed(compiled, stage):
    mounts = compiled().pods[stage].get("pvcMount", [])
    assert {mount["mountPath"]: mount["constant"] for mount in mounts} == VOLUMES.get(stage, {})


def test_volumes_have_the_names_that_are_given_or_are_left_out(compiled):
    pods = compiled("--pvc", "sounds", "--checkpoints-pvc", "", "--champions-pvc", "", "--tags-pvc", "out").pods
    assert [mount["constant"] for mount in pods["preprocess"]["pvcMount"]] == ["sounds"]
    assert [mount["constant"] for mount in pods["train"]["pvcMount"]] == ["sounds"]
    assert [mount["constant"] for mount in pods["tag"]["pvcMount"]] == ["sounds", "out"]
    assert "pvcMount" not in pods["promote"]


@pytest.mark.parametrize("stage", NEEDS)
def test_what_a_stage_writes_beside_its_outputs_is_no_part_of_its_root(compiled, stage):
    memory = {"volumeName": "shm", "mountPath": "/dev/shm", "medium": "Memory", "sizeLimit": "1024Mi"}
    shared = [memory] if stage == "preprocess" else []  # for its worker processes
    assert compiled().pods[stage]["emptyDirMounts"] == [*shared, {"volumeName": "tmp", "mountPath": "/tmp"}]


@pytest.mark.parametrize("stage", NEEDS)
def test_every_stage_is_tried_again_and_has_a_deadline(compiled, stage):
    compiled = compiled("--deadline", "100")
    seconds = int(compiled.pods[stage]["activeDeadlineSeconds"])
    assert 0 < seconds == NEEDS[stage].hours * 3600 < 100 * 3600
    # Argo gives up after `backoffMaxDuration`, counted from the start of the first try.
    retry = {"backoffDuration": "60s", "backoffFactor": 2, "backoffMaxDuration": f"{100 * 3600}s"}
    expected = retry | {"maxRetryCount": NEEDS[stage].retries} if stage != "notify" else None  # it fails on purpose
    assert compiled.tasks[stage].get("retryPolicy") == expected


def test_a_run_that_waits_for_ever_is_stopped(compiled):
    for config in compiled("--deadline", "100").configs.values():
        assert config["activeDeadlineSeconds"] == 100 * 3600


@pytest.mark.parametrize("stage", NEEDS)
def test_all_but_what_looks_at_the_world_or_reports_is_cached_inside_and_outside_the_loop(compiled, stage):
    cached = compiled().tasks[stage]["cachingOptions"].get("enableCache", False)
    assert cached == (stage not in UNCACHED)


@pytest.mark.parametrize(("options", "torch"), [((), "cuda"), (("--gpus", "0"), "cpu"), (("--torch", "cpu"), "cpu")])
def test_images_come_from_the_registry_with_the_build_of_torch_that_fits(compiled, monkeypatch, options, torch):
    containers = compiled("--registry", "example.org:5000/team/", *options).containers
    # What `make push` names them with the same settings.
    monkeypatch.setenv("AUDIOTAGGING_REGISTRY", "example.org:5000/team")
    monkeypatch.setenv("AUDIOTAGGING_TORCH", torch)
    for stage, target in {"ingest": "data", "train": "training", "ensemble": "results", "tag": "tagging"}.items():
        assert containers[stage]["image"] == image(target)
        assert containers[stage]["image"].startswith(f"example.org:5000/team/audiotagging-{target}:")
    assert all(containers[stage]["image"].endswith(f"-{torch}") for stage in ("train", "tag"))


def test_the_stages_wait_in_a_queue_if_there_is_one(compiled):
    name = "kueue.x-k8s.io/queue-name"
    labels = [pod["podMetadata"]["labels"] for pod in compiled("--queue", "gpus").pods.values()]
    assert [each[name] for each in labels] == ["gpus"] * len(NEEDS)
    assert not any(name in pod["podMetadata"]["labels"] for pod in compiled().pods.values())


@pytest.mark.parametrize("stage", NEEDS)
def test_the_pods_of_stages_are_found_by_their_labels(compiled, stage):
    labels = compiled().pods[stage]["podMetadata"]["labels"]
    assert labels == {"app.kubernetes.io/part-of": "audiotagging", "app.kubernetes.io/component": stage}


@pytest.mark.parametrize("stage", NEEDS)
def test_what_reads_object_stores_gets_their_credentials_from_the_secret(compiled, stage):
    pod = compiled("--secret", "store").pods[stage]
    mounts = {mount["secretName"]: mount["mountPath"] for mount in pod.get("secretAsVolume", [])}
    assert mounts == ({"store": str(SECRET)} if stage in STORES else {})


def test_no_stage_gets_a_secret_that_is_not_named(compiled):
    assert not any("secret" in part for pod in compiled().pods.values() for part in pod)


@pytest.mark.parametrize("name", pipeline.PIPELINES)
def test_the_wiring_stays_as_it_is(tmp_path, compiled, name):
    compiler.Compiler().compile(pipeline.PIPELINES[name], str(tmp_path / "plain.yaml"))
    plain, on = yaml.safe_load((tmp_path / "plain.yaml").read_text()), compiled("--notify", "").specs[name]

    def edges(spec):
        tasks = {
            f"{name}.{task}": value
            for name, part in {"root": spec["root"], **spec["components"]}.items()
            for task, value in part.get("dag", {}).get("tasks", {}).items()
        }
        return {name: (task.get("inputs"), task.get("dependentTasks")) for name, task in tasks.items()}

    assert edges(on) == edges(plain)
    assert on["pipelineInfo"] == plain["pipelineInfo"] and on["pipelineInfo"]["description"]
    assert on["root"]["inputDefinitions"] == plain["root"]["inputDefinitions"]
    assert on["root"].get("outputDefinitions") == plain["root"].get("outputDefinitions")


def test_the_same_settings_make_the_same_file(tmp_path):
    for name in ("a.yaml", "b.yaml"):
        compiler.Compiler().compile(on_cluster(pipeline.audiotagging, Cluster()), str(tmp_path / name))
    assert (tmp_path / "a.yaml").read_bytes() == (tmp_path / "b.yaml").read_bytes()


def test_a_stage_tells_how_a_run_ended_whether_or_not_it_succeeds(compiled):
    root = compiled().specs["training"]["root"]["dag"]
    assert set(root["tasks"]) == {"notify", "exit-handler-1"} and "outputs" not in root
    task = root["tasks"]["notify"]
    assert task["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    parameters = task["inputs"]["parameters"]
    assert parameters["status"] == {"taskFinalStatus": {"producerTask": "exit-handler-1"}}
    assert parameters["champions"] == {"componentInputParameter": "champions"}
    assert parameters["rows"] == {"componentInputParameter": "rows"}
    # The id that `promote` records is the one that `notify` looks for.
    (handler,) = [
        part["dag"]
        for part in compiled().specs["training"]["components"].values()
        if "promote" in part.get("dag", {}).get("tasks", {})
    ]
    promoted = handler["tasks"]["promote"]["inputs"]["parameters"]
    assert parameters["run"] == promoted["run"] == {"runtimeValue": {"constant": "{{$.pipeline_job_uuid}}"}}

    plain = compiled("--notify", "")
    assert compiled().specs["training"]["pipelineInfo"] == plain.specs["training"]["pipelineInfo"]
    assert (
        compiled().specs["training"]["root"]["inputDefinitions"] == plain.specs["training"]["root"]["inputDefinitions"]
    )
    assert "notify" not in plain.containers
    for stage, container in plain.containers.items():
        assert compiled().containers[stage] == container and compiled().pods[stage] == plain.pods[stage]


def test_the_url_to_notify_is_only_in_the_environment_of_its_stage(compiled):
    for spec in compiled().specs.values():
        environment = spec["deploymentSpec"]["executors"]["exec-notify"]["container"].pop("env")
        assert {"name": "AUDIOTAGGING_NOTIFY", "value": HOOK} in environment
        assert HOOK not in str(spec)
    compiled().containers["notify"]["env"] = environment


def test_the_url_to_notify_may_come_from_a_secret_which_no_other_stage_gets(compiled):
    with_secret = compiled("--notify-secret", "chat")
    (given,) = with_secret.pods["notify"].pop("secretAsEnv")
    assert given["secretName"] == "chat" and given["optional"]
    assert given["keyToEnv"] == [{"secretKey": "AUDIOTAGGING_NOTIFY", "envVar": "AUDIOTAGGING_NOTIFY"}]
    assert with_secret.pods == compiled().pods
    assert with_secret.tasks == compiled().tasks
    names = {variable["name"] for variable in with_secret.containers["notify"]["env"]}
    assert names == {variable["name"] for variable in compiled().containers["notify"]["env"]} - {"AUDIOTAGGING_NOTIFY"}
