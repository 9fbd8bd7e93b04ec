"""A server on this machine that answers as the API of Kubernetes does, for what `doctor` asks it.

What it has is what Kubernetes 1.34.4 answered for a healthy cluster with Kubeflow Pipelines 2.17.0, without the fields
that nobody reads.
"""

import base64
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import yaml

CORE, UID = "/api/v1/namespaces/kubeflow", "5f3a3a0e-4d5c-4a41-9d55-0d6c1f0c2f3b"
APPS = "/apis/apps/v1/namespaces/kubeflow/deployments"
QUEUES = "/apis/kueue.x-k8s.io/v1beta2/namespaces/kubeflow/localqueues"
PROGRAMS = (
    "ml-pipeline",
    "ml-pipeline-ui",
    "ml-pipeline-persistenceagent",
    "ml-pipeline-scheduledworkflow",
    "workflow-controller",
)


OWN = (
    "ghcr.io/kubeflow/kfp-driver:2.17.0",
    "ghcr.io/kubeflow/kfp-launcher:2.17.0",
    "quay.io/argoproj/argoexec:v4.0.5",
)


def claim(*, phase="Bound", modes=("ReadWriteMany",)):
    status = {"phase": phase, "capacity": {"storage": "100Gi"}} if phase == "Bound" else {"phase": phase}
    return {"metadata": {}, "spec": {"accessModes": list(modes)}, "status": status}


def node(name="vm", *, gpus="2", label=True, images=(), cpu="16", memory="65917900Ki", taints=(), ready="True"):
    labels = {"kubernetes.io/hostname": name} | ({"nvidia.com/gpu.present": "true"} if label else {})
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": list(taints)} if taints else {},
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory} | ({"nvidia.com/gpu": gpus} if gpus else {}),
            "conditions": [{"type": "Ready", "status": ready}],
            "images": [{"names": [name]} for name in images],
        },
    }


def pod(*, node="vm", gpus="1"):
    resources = {"limits": {"nvidia.com/gpu": gpus}} if gpus else {}
    return {"metadata": {"name": "train"}, "spec": {"nodeName": node, "containers": [{"resources": resources}]}}


def secret(**content):
    return {"data": {key: base64.b64encode(value.encode()).decode() for key, value in content.items()}}


def queue(name="audiotagging", *, active="True", message="Can submit new workloads to localQueue"):
    conditions = [{"type": "Active", "status": active, "message": message}]
    spec = {"clusterQueue": "audiotagging"}
    return {"metadata": {"name": name}, "spec": spec, "status": {"conditions": conditions, "pendingWorkloads": 0}}


def deployment(name, *, ready=1):
    container = {"name": name}
    if name == "ml-pipeline":
        variables = {"V2_DRIVER_IMAGE": OWN[0], "V2_LAUNCHER_IMAGE": OWN[1], "OTHER": "x"}
        container["env"] = [{"name": key, "value": value} for key, value in variables.items()]
        container["env"].append({"name": "POD_NAMESPACE", "valueFrom": {}})
    if name == "workflow-controller":
        container["args"] = ["--configmap", "workflow-controller-configmap", "--executor-image", OWN[2], "--namespaced"]
    status = {"availableReplicas": ready} if ready else {}
    return {"metadata": {"name": name}, "spec": {"template": {"spec": {"containers": [container]}}}, "status": status}


def quota(*, hard, used):
    status = {"hard": {"requests.nvidia.com/gpu": hard}, "used": {"requests.nvidia.com/gpu": used}}
    return {"metadata": {"name": "q"}, "status": status}


def listed(*items):
    return {"items": list(items)}


class KubernetesServer(ThreadingHTTPServer):
    """The server and what it has.

    Attributes:
        objects: Objects and lists by their paths.
        forbidden: A regular expression of the paths that the user may not see.
        refused: What the account of the stages may not do, as "VERB KIND".
        pod: Status of the pod that is started, and its log.
        requests: Method and path of all requests.
        body: The body of the last request that had one.
    """

    daemon_threads = True

    def __init__(self, images):
        super().__init__(("127.0.0.1", 0), Handler)
        ready = [deployment(name) for name in PROGRAMS]
        page = {"metadata": {"name": "ml-pipeline-ui-58f49cd759-t9qvx", "uid": UID}}
        self.objects = {
            CORE: {"metadata": {"name": "kubeflow"}},
            f"{CORE}/pods": listed(page),
            f"{CORE}/events": listed(),
            f"{CORE}/serviceaccounts/pipeline-runner": {},
            f"{CORE}/resourcequotas": listed(quota(hard="6", used="0")),
            APPS: listed(*ready),
            "/api/v1/nodes": listed(node(images=images)),
            "/api/v1/pods": listed(pod(gpus="")),
            "/apis/kueue.x-k8s.io": {"preferredVersion": {"groupVersion": "kueue.x-k8s.io/v1beta2"}},
            QUEUES: listed(queue()),
            "/apis/kubeflow.org/v1beta1/namespaces/kubeflow/scheduledworkflows": listed(),
        }
        for folder in ("audio", "checkpoints", "champions", "tags"):
            self.objects[f"{CORE}/persistentvolumeclaims/audiotagging-{folder}"] = claim()
        self.forbidden, self.refused, self.requests, self.body = "", set(), [], {}
        self.pod, self.log = {"phase": "Succeeded"}, ""

    def write_kubeconfig(self, path):
        """Write a configuration of kubectl for this server."""
        cluster = {"server": f"http://127.0.0.1:{self.server_port}"}
        content = {
            "clusters": [{"name": "k", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "kind-audiotagging", "context": {"cluster": "k", "user": "u"}}],
            "current-context": "kind-audiotagging",
        }
        path.write_text(yaml.safe_dump(content))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = urlsplit(self.path).path
        started = re.fullmatch(f"{CORE}/pods/audiotagging-doctor-x(/log)?", path)
        if self.refuses(path):
            return
        if started and started[1]:
            self.answer(200, self.server.log)
        elif started:
            spec = {"nodeName": "vm"} | self.server.pod.get("spec", {})
            status = {key: value for key, value in self.server.pod.items() if key != "spec"}
            self.answer(200, {"metadata": {}, "spec": spec, "status": status})
        elif path in self.server.objects:
            content = self.server.objects[path]
            if content and path == "/api/v1/pods":
                query = parse_qs(urlsplit(self.path).query)
                assert query["fieldSelector"] == ["status.phase!=Succeeded,status.phase!=Failed"]
            self.answer(200, content)
        elif re.fullmatch("/api/v1/namespaces/elsewhere/[a-z]+", path):
            self.answer(200, listed())  # also if there is no such namespace
        else:
            self.answer(404, {"message": f'"{path}" not found', "reason": "NotFound"})

    def do_POST(self):
        path = urlsplit(self.path).path
        body = self.server.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.refuses(path):
            return
        if path.endswith("/localsubjectaccessreviews"):
            asked = body["spec"]["resourceAttributes"]
            allowed = f"{asked['verb']} {asked['resource']}" not in self.server.refused
            self.answer(201, body | {"status": {"allowed": allowed}})
        else:
            assert path == f"{CORE}/pods"
            self.answer(201, body | {"metadata": {"name": f"{body['metadata']['generateName']}x"}})

    def do_DELETE(self):
        path = urlsplit(self.path).path
        assert not self.refuses(path)
        self.answer(200, {})

    def refuses(self, path):
        """Answer as Kubernetes does if the user may not see something, and return whether that is so."""
        self.server.requests.append(f"{self.command} {path}")
        if not (self.server.forbidden and re.search(self.server.forbidden, path)):
            return False
        kind = path.removeprefix(f"{CORE}/").split("/")[0]
        where = 'in the namespace "kubeflow"' if path.startswith(CORE) else "at the cluster scope"
        message = f'{kind} is forbidden: User "ann" cannot get resource "{kind}" in API group "" {where}'
        self.answer(403, {"message": message, "reason": "Forbidden"})
        return True

    def answer(self, status, content):
        body = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
