"""What is applied to a cluster: built by kustomize, held against Kubernetes' schemas and its restricted standard."""

import argparse
import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from audiotagging.serving import command
from audiotagging.serving.limits import Limits
from audiotagging.serving.openapi import document
from audiotagging.serving.server import LAST_ANSWERS
from commands import schedule
from commands.cluster.client import TOKEN_FILE
from components.cluster import (
    AUDIO,
    CHAMPIONS,
    CHECKPOINTS,
    CLAIMS,
    COMPONENT,
    NEEDS,
    PART_OF,
    PROGRAM,
    TAGS,
    USER,
    Cluster,
)
from components.images import files

ROOT = Path(__file__).parent.parent
MANIFESTS = ROOT / "manifests"
OVERLAYS = ("base", "overlays/kind", "overlays/gpu")
COMPONENTS = ("weekly", "serve")
VERSIONS = ("1.33", "1.36")  # that KFP 2.17 is tested with
TEMPLATES = {"Job", "DaemonSet", "Deployment"}
BUILT = {"audiotagging-client", "audiotagging-tagging"}  # set by `make manifests`
KSERVE = {"minReplicas": 1, "maxReplicas": 4, "scaleMetric": "cpu", "scaleTarget": 70}  # its own beside those of a pod

needs_kubectl = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")


def build(folder):
    done = subprocess.run(["kubectl", "kustomize", str(MANIFESTS / folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def with_component(name, folder):
    """Return a copy of the overlay for GPUs that has a component."""
    shutil.copytree(MANIFESTS, folder / "manifests")
    path = folder / "manifests" / "overlays" / "gpu" / "kustomization.yaml"
    path.write_text(path.read_text().replace("components: []", f"components: [../../{name}]"))
    return path.parent


@pytest.fixture(scope="module", params=[*OVERLAYS, *COMPONENTS])
def resources(request, tmp_path_factory):
    name = request.param
    return build(name if name in OVERLAYS else with_component(name, tmp_path_factory.mktemp(name)))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The resources of the server by their kind."""
    built = build(with_component("serve", tmp_path_factory.mktemp("server")))
    return {each["kind"]: each for each in built if each["metadata"]["name"] == "audiotagging-serve"}


def name_of(resource):
    return f"{resource['kind']}/{resource['metadata']['name']}"


def pods(resources):
    """Return the pod specs by the name of what makes them."""
    return {name_of(each): each["spec"]["template"]["spec"] for each in resources if each["kind"] in TEMPLATES}


def test_every_image_that_is_pulled_is_named_with_its_digest():
    texts = [path.read_text() for path in (ROOT / "Makefile", ROOT / "docker/Dockerfile", *MANIFESTS.rglob("*.yaml"))]
    pattern = re.compile(r"^(?:ARG BASE=|KIND_NODE_IMAGE \?= | *image: )([^\s#]+)", re.MULTILINE)
    pulled = {image for text in texts for image in pattern.findall(text)} - BUILT
    assert {image.partition(":")[0] for image in pulled} == {
        "busybox",
        "kindest/node",
        "nvcr.io/nvidia/k8s-device-plugin",
        "python",
    }
    assert [image for image in pulled if not re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", image)] == []


@needs_kubectl
@pytest.mark.parametrize("version", VERSIONS)
def test_everything_is_what_kubernetes_knows(resources, version):
    for resource in resources:
        kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["loader.yaml", "champion.yaml"])
def test_the_pods_to_work_in_are_what_kubernetes_knows(version, name):
    kubernetes_validate.validate(yaml.safe_load((MANIFESTS / name).read_text()), version, strict=True)


@needs_kubectl
def test_the_queue_can_be_added(tmp_path):
    (queue,) = [each for each in build(with_component("kueue", tmp_path)) if each["kind"] == "LocalQueue"]
    assert queue["metadata"] == queue["metadata"] | {"name": "audiotagging", "namespace": "kubeflow"}


@needs_kubectl
@pytest.mark.parametrize("overlay", ["base", "overlays/gpu"])
def test_nothing_is_trained_every_week_unless_asked_for(overlay):
    assert not any(each["metadata"]["name"] == "schedule" for each in build(overlay))


def test_retries_change_kubeflows_defaults_alone():
    patch = yaml.safe_load((MANIFESTS / "retries" / "workflow-defaults.yaml").read_text())
    defaults = yaml.safe_load(patch["data"].pop("workflowDefaults"))["spec"]
    assert not patch["data"] and patch["metadata"]["name"] == "workflow-controller-configmap"
    # Argo gives a template's own retries the policy of these, and all other templates no retries.
    assert defaults["templateDefaults"] == {"retryStrategy": {"limit": "0", "retryPolicy": "Always"}}


@needs_kubectl
def test_retries_can_be_patched_into_kubeflow(tmp_path):
    shutil.copytree(MANIFESTS / "retries", tmp_path / "retries")
    original = {"artifactRepository": "kept", "workflowDefaults": "spec: {}"}
    configuration = {"kind": "ConfigMap", "apiVersion": "v1", "data": original}
    configuration["metadata"] = {"name": "workflow-controller-configmap", "namespace": "kubeflow"}
    (tmp_path / "kubeflow.yaml").write_text(yaml.safe_dump(configuration))
    top = {"resources": ["kubeflow.yaml"], "components": ["retries"]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(top))
    (patched,) = build(tmp_path)
    assert patched["data"]["artifactRepository"] == "kept" and "Always" in patched["data"]["workflowDefaults"]


def restricted(pod):
    """Yield what the restricted Pod Security Standard of Kubernetes 1.36 forbids of a pod."""
    security = pod.get("securityContext", {})
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield field
    allowed = {"name", "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected"}
    yield from (f"volume {volume['name']}" for volume in pod.get("volumes", []) if set(volume) - allowed - {"secret"})
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False:
            yield "allowPrivilegeEscalation"
        if own.get("capabilities", {}).get("drop") != ["ALL"] or own["capabilities"].get("add"):
            yield "capabilities"
        if not own.get("runAsNonRoot", security.get("runAsNonRoot")):
            yield "runAsNonRoot"
        if 0 in (own.get("runAsUser", 1), security.get("runAsUser", 1)):
            yield "runAsUser"
        profile = own.get("seccompProfile", security.get("seccompProfile", {})).get("type")
        if profile not in ("RuntimeDefault", "Localhost"):
            yield "seccompProfile"
        if (
            own.get("privileged")
            or own.get("procMount")
            or any("hostPort" in port for port in container.get("ports", []))
        ):
            yield "privileges"


@needs_kubectl
def test_the_device_plugin_may_do_no_more_than_it_must():
    pod = pods(build("overlays/gpu"))["DaemonSet/nvidia-device-plugin"]
    (container,) = pod["containers"]
    assert set(restricted(pod)) == {
        "volume device-plugins",
        "runAsNonRoot",
    }  # the kubelet's socket is root's
    assert container["securityContext"]["readOnlyRootFilesystem"]


@needs_kubectl
def test_the_stages_are_found_by_their_labels_and_reach_only_what_they_need():
    (policy,) = [each["spec"] for each in build("base") if each["metadata"]["name"] == "audiotagging-stages"]
    assert policy["podSelector"] == {"matchLabels": {PART_OF: PROGRAM}}
    assert policy["policyTypes"] == ["Ingress", "Egress"] and "ingress" not in policy
    dns, kubeflow, outside = policy["egress"]
    assert {port["port"] for port in dns["ports"]} == {53} and "namespaceSelector" in dns["to"][0]
    assert kubeflow["to"] == [{"podSelector": {"matchLabels": {"application-crd-id": "kubeflow-pipelines"}}}]
    assert "to" not in outside and {port["port"] for port in outside["ports"]} == {80, 443, 6443}


@needs_kubectl
def test_stages_can_be_given_a_read_only_root_and_read_only_champions(tmp_path):
    built = build(with_component("hardening", tmp_path))
    kinds = {each["kind"]: each for each in built if each["kind"].startswith("Mutating")}
    policy, binding = kinds["MutatingAdmissionPolicy"], kinds["MutatingAdmissionPolicyBinding"]
    for each in (policy, binding):
        kubernetes_validate.validate(each, "1.36", strict=True)
    assert binding["spec"]["policyName"] == policy["metadata"]["name"]
    selector = policy["spec"]["matchConstraints"]["objectSelector"]
    assert selector["matchLabels"] == {PART_OF: PROGRAM} and selector["matchExpressions"][0]["key"] == COMPONENT
    (variable,) = policy["spec"]["variables"]
    expression = f"object.metadata.labels['{COMPONENT}'] in ['promote', 'conclude'] ? [] : ['{CHAMPIONS}']"
    assert variable["expression"] == expression
    assert CHAMPIONS in NEEDS["promote"].volumes


@needs_kubectl
def test_our_pods_meet_the_restricted_standard(resources):
    ours = {name: pod for name, pod in pods(resources).items() if "device-plugin" not in name}
    assert ours.keys() - {"Job/schedule", "Deployment/audiotagging-serve"} == {"Job/audiotagging-volumes"}
    assert {name: list(restricted(pod)) for name, pod in ours.items()} == {name: [] for name in ours}


def test_the_loader_meets_the_restricted_standard_and_is_not_the_stages_user():
    pod = yaml.safe_load((MANIFESTS / "loader.yaml").read_text())["spec"]
    assert not list(restricted(pod)) and pod["securityContext"]["runAsUser"] != USER


def test_the_pod_with_the_champions_meets_the_restricted_standard_and_is_the_stages_user():
    pod = yaml.safe_load((MANIFESTS / "champion.yaml").read_text())["spec"]
    assert not list(restricted(pod)) and pod["securityContext"]["runAsUser"] == USER
    (mount,), (volume,) = pod["containers"][0]["volumeMounts"], pod["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == CLAIMS[mount["mountPath"]] == "audiotagging-champions"


def test_the_check_of_the_standard_finds_what_it_forbids():
    bad = {"containers": [{"name": "c"}], "hostNetwork": True, "volumes": [{"name": "v", "hostPath": {"path": "/"}}]}
    found = {"hostNetwork", "volume v", "allowPrivilegeEscalation", "capabilities", "runAsNonRoot", "seccompProfile"}
    assert set(restricted(bad)) == found


@needs_kubectl
def test_every_container_says_what_it_needs(resources):
    for name, pod in pods(resources).items():
        for container in pod["containers"]:
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
            assert "memory" in container["resources"]["limits"], name


@needs_kubectl
def test_every_image_has_a_version(resources):
    images = {container["image"] for pod in pods(resources).values() for container in pod["containers"]}
    assert all(":" in image and not image.endswith(":latest") for image in images - BUILT)


@needs_kubectl
def test_the_volumes_are_those_that_the_stages_mount_and_are_given_to_their_user(resources):
    claims = {each["metadata"]["name"]: each for each in resources if each["kind"] == "PersistentVolumeClaim"}
    assert set(claims) == set(CLAIMS.values())
    pod = pods(resources)["Job/audiotagging-volumes"]
    assert {pod["securityContext"][field] for field in ("runAsUser", "runAsGroup", "fsGroup")} == {USER}
    mounted = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    found = {mounted[each["name"]]: each["persistentVolumeClaim"]["claimName"] for each in pod["volumes"]}
    assert found == CLAIMS and set(found) == {AUDIO, CHECKPOINTS, CHAMPIONS, TAGS}


@needs_kubectl
def test_files_on_the_volumes_stay_as_they_were_when_a_pod_mounts_them_again(resources):
    loader = yaml.safe_load((MANIFESTS / "loader.yaml").read_text())["spec"]
    contexts = [pod.get("securityContext", {}) for pod in [loader, *pods(resources).values()]]
    mounting = [context for context in contexts if "fsGroup" in context]
    assert len(mounting) == 2 and all(each["fsGroupChangePolicy"] == "OnRootMismatch" for each in mounting)


@needs_kubectl
def test_who_submits_may_do_that_and_nothing_else(resources):
    (role,) = [each for each in resources if each["kind"] == "Role"]
    assert {group for rule in role["rules"] for group in rule["apiGroups"]} == {"pipelines.kubeflow.org"}
    verbs = {resource: set(rule["verbs"]) for rule in role["rules"] for resource in rule["resources"]}
    submit = {"create", "get", "list"}
    schedule = submit | {"enable", "disable", "delete"}
    assert verbs == {"pipelines": submit, "experiments": submit, "runs": submit, "jobs": schedule}
    assert not [each for each in resources if each["kind"].startswith("Cluster") and "Role" in each["kind"]]


@needs_kubectl
@pytest.mark.parametrize("overlay", ["kind", "gpu"])
def test_the_schedule_is_made_by_a_command_that_parses_with_the_token_where_the_client_looks(overlay, tmp_path):
    built = build("overlays/kind") if overlay == "kind" else build(with_component("weekly", tmp_path))
    pod = pods(built)["Job/schedule"]
    container = pod["containers"][0]
    command, *options = container["args"]
    parser = argparse.ArgumentParser()
    schedule.add_arguments(parser)
    args = parser.parse_args(options)
    assert command == "schedule" and args.cron == "0 0 3 * * 0" and args.data
    assert args.host == "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "token"]
    assert f"{mount['mountPath']}/token" == TOKEN_FILE


@needs_kubectl
def test_nodes_with_gpus_are_labelled_and_tainted_alike_for_the_plugin_and_the_stages():
    plugin = pods(build("overlays/gpu"))["DaemonSet/nvidia-device-plugin"]
    key, value = Cluster().gpu_label
    assert plugin["nodeSelector"] == {key: value}
    assert plugin["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    (node,) = yaml.safe_load((MANIFESTS / "kind.yaml").read_text())["nodes"]
    assert node["labels"] == {key: value}


def test_the_client_holds_what_names_the_stages_images():
    everything = {file for target in ("data", "training", "results") for file in files(target)}
    assert everything <= set(files("client"))


def test_the_script_passes_shellcheck():
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", str(MANIFESTS / "kind.sh")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@needs_kubectl
def test_the_server_only_reads_the_champions_and_answers_at_its_probes_until_it_ends(server):
    pod = server["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args(container["args"])
    assert container["command"] == ["python3", "-m", "audiotagging.serving"]
    assert (str(args.models), args.host, args.port) == ("/champions", "0.0.0.0", container["ports"][0]["containerPort"])
    paths = {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert paths <= document(Limits())["paths"].keys()
    assert pod["terminationGracePeriodSeconds"] > args.drain + LAST_ANSWERS
    claims = {each["name"]: each.get("persistentVolumeClaim") for each in pod["volumes"]}
    assert claims == {"champions": {"claimName": CLAIMS[CHAMPIONS], "readOnly": True}, "tmp": None}
    assert all(mount.get("readOnly") for mount in container["volumeMounts"] if mount["name"] == "champions")
    assert pod["securityContext"]["runAsUser"] != USER and container["securityContext"]["readOnlyRootFilesystem"]


@needs_kubectl
def test_the_server_is_found_by_its_label_and_reaches_nothing(server):
    labels = server["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert server["Service"]["spec"]["selector"].items() <= labels
    (container,) = server["Deployment"]["spec"]["template"]["spec"]["containers"]
    meta = server["Service"]["metadata"]
    name, namespace = meta["name"], meta["namespace"]
    names = container["args"][container["args"].index("--allowed-hosts") + 1 :]
    assert names == [name, *(f"{name}.{namespace}{suffix}" for suffix in ("", ".svc", ".svc.cluster.local"))]
    policy = server["NetworkPolicy"]["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels
    assert policy["policyTypes"] == ["Ingress", "Egress"] and "egress" not in policy
    assert server["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == "audiotagging-serve"


@needs_kubectl
@pytest.mark.parametrize("version", VERSIONS)
def test_kserve_runs_the_same_server(server, tmp_path, version):
    (service,) = [each for each in build(with_component("kserve", tmp_path)) if each["kind"] == "InferenceService"]
    spec = service["spec"]["predictor"]
    pod = {key: value for key, value in spec.items() if key not in KSERVE}
    assert {key: spec[key] for key in KSERVE} == KSERVE
    meta = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "predictor"}}
    kubernetes_validate.validate({**meta, "spec": pod}, version, strict=True)
    assert not list(restricted(pod))
    own = server["Deployment"]["spec"]["template"]["spec"]
    (container,), (expected,) = pod.pop("containers"), own["containers"]
    assert container["ports"][0]["containerPort"] == 8080
    limit = container["resources"]["limits"].pop("cpu")  # KServe's own, of one core, would be less than is requested
    assert float(limit) >= float(container["resources"]["requests"]["cpu"])
    args = [*expected["args"][: expected["args"].index("--allowed-hosts")], "--allowed-hosts=*"]
    assert container | {"name": "serve", "ports": expected["ports"]} == expected | {"args": args}
    assert pod == {key: value for key, value in own.items() if key != "containers"}
