"""What is in the namespace of the stages: quick to ask, and visible to whoever may read that namespace alone."""

import json
from collections.abc import Iterator
from typing import Any

from commands.cluster.checks.finding import OK, WARNING, WRONG, Finding
from commands.cluster.checks.site import Site
from commands.cluster.client import NAMESPACE
from commands.cluster.events import time_of
from commands.cluster.waiting import GPU

# Without these, no run starts or ends, no schedule starts one, or nothing shows what it does.
PROGRAMS = (
    "ml-pipeline",
    "ml-pipeline-ui",
    "ml-pipeline-persistenceagent",
    "ml-pipeline-scheduledworkflow",
    "workflow-controller",
)
# What the account of the stages must be allowed to do: for Argo's executor, Kubeflow's launcher, and `notify`.
ALLOWED = (
    ("create", "argoproj.io", "workflowtaskresults"),
    ("patch", "argoproj.io", "workflowtaskresults"),
    ("get", "", "configmaps"),
    ("get", "", "secrets"),
    ("get", "argoproj.io", "workflows"),
)


def check_namespace(site: Site) -> Iterator[Finding]:
    """Yield whether the namespace exists."""
    if site.kubernetes.get(f"/api/v1/namespaces/{site.namespace}") is not None:
        yield Finding("namespace", OK, site.namespace)
    else:
        yield Finding(
            "namespace",
            WRONG,
            f"there is no namespace {site.namespace} in the cluster of kubectl's context {site.kubernetes.context}",
            "check --namespace, and `kubectl config current-context`",
        )


def check_programs(site: Site) -> Iterator[Finding]:
    """Yield whether Kubeflow's own programs run."""
    what = "Kubeflow's programs"
    answer = site.kubernetes.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments")
    ready = {each["metadata"]["name"]: each["status"].get("availableReplicas", 0) for each in answer["items"]}
    down = [name for name in PROGRAMS if name in ready and not ready[name]]
    missing = [name for name in PROGRAMS if name not in ready]
    for name in down:
        remedy = f"kubectl -n {NAMESPACE} describe deployment {name}; kubectl -n {NAMESPACE} get events"
        yield Finding(what, WRONG, f"{name} has no pod that is ready", remedy)
    if missing:
        said = f"{', '.join(missing)} not in the namespace {NAMESPACE}; no run starts and ends without them"
        yield Finding(
            what, WARNING, said, "unless they are elsewhere, install Kubeflow Pipelines again (docs/cluster.md)"
        )
    if not down and not missing:
        yield Finding(what, OK, f"{', '.join(PROGRAMS)} are ready")


def check_account(site: Site) -> Iterator[Finding]:
    """Yield whether the account of the stages exists and may do what Argo and Kubeflow do with it."""
    what, name = "the stages' account", "default-editor" if site.users_namespace else "pipeline-runner"
    if site.in_namespace("serviceaccounts", name) is None:
        yield Finding(what, WRONG, f"there is no account {name} in {site.namespace}", "install Kubeflow's roles again")
        return
    refused = [f"{verb} {kind}" for verb, group, kind in ALLOWED if not _may(site, name, verb, group, kind)]
    if refused:
        yield Finding(
            what,
            WRONG,
            f"{name} may not {', '.join(refused)} in {site.namespace}",
            f"kubectl -n {site.namespace} get rolebindings -o wide; Kubeflow's manifests bind {name} to a role",
        )
    else:
        yield Finding(what, OK, f"{name} may do what Argo and Kubeflow do with it")


def _may(site: Site, account: str, verb: str, group: str, kind: str) -> bool:
    attributes = {"namespace": site.namespace, "verb": verb, "group": group, "resource": kind}
    answer = site.kubernetes.request(
        "POST",
        f"/apis/authorization.k8s.io/v1/namespaces/{site.namespace}/localsubjectaccessreviews",
        body={
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "LocalSubjectAccessReview",
            "metadata": {"namespace": site.namespace},
            "spec": {
                "user": f"system:serviceaccount:{site.namespace}:{account}",
                "groups": [
                    "system:serviceaccounts",
                    f"system:serviceaccounts:{site.namespace}",
                    "system:authenticated",
                ],
                "resourceAttributes": attributes,
            },
        },
    )
    return answer is not None and bool(json.loads(answer)["status"]["allowed"])


def check_claims(site: Site) -> Iterator[Finding]:
    """Yield whether the volume claims exist, and are bound."""
    if not site.claims:
        yield Finding("claims", OK, "none is asked for")
    for name in site.claims.values():
        yield _claim(site, name)


def _claim(site: Site, name: str) -> Finding:
    what, claim = f"claim {name}", site.in_namespace("persistentvolumeclaims", name)
    describe = f"kubectl -n {site.namespace} describe pvc {name}"
    if claim is None:
        return Finding(
            what,
            WRONG,
            f"it does not exist in {site.namespace}; stages would wait for it",
            '`make manifests | kubectl apply -f -` makes it; or name another one, or "" for none (--help says how)',
        )
    if claim["metadata"].get("deletionTimestamp"):
        return Finding(what, WRONG, "it is being deleted", f"{describe} says what still uses it")
    phase, modes = claim["status"].get("phase"), claim["spec"].get("accessModes", [])
    if phase != "Bound":
        newest = _newest_event(site, name)
        if newest.get("reason") == "WaitForFirstConsumer":
            return Finding(what, OK, "is bound when the first stage needs it")
        said = f"it is {phase}, not bound: {' '.join(newest.get('message', 'Kubernetes does not say why').split())}"
        state = WRONG if newest.get("type") == "Warning" else WARNING  # a volume may be in the making
        return Finding(what, state, said, describe)
    size = claim["status"].get("capacity", {}).get("storage", "of unknown size")
    return Finding(what, OK, f"bound, {size}, {', '.join(modes)}")


def _newest_event(site: Site, name: str) -> dict[str, Any]:
    events = site.in_namespace("events", fieldSelector=f"involvedObject.name={name}")["items"]
    return max(events, key=time_of, default={})


def check_queue(site: Site) -> Iterator[Finding]:
    """Yield whether the Kueue queue exists and admits pods."""
    name = site.cluster.queue
    if not name:
        yield Finding("Kueue queue", OK, "none is asked for (--queue)")
        return
    what, manifests = f"Kueue queue {name}", "`components: [../../kueue]` in manifests/overlays/gpu makes one"
    group = site.kubernetes.get("/apis/kueue.x-k8s.io")
    if group is None:
        yield Finding(
            what, WRONG, "Kueue is not installed, so nothing would admit the stages", "install it, or omit --queue"
        )
        return
    version = group["preferredVersion"]["groupVersion"]
    queues = site.kubernetes.get(f"/apis/{version}/namespaces/{site.namespace}/localqueues")
    found = {queue["metadata"]["name"]: queue for queue in queues["items"]} if queues else {}
    if name not in found:
        said = f"there is no such LocalQueue in {site.namespace}" + (
            f", but {', '.join(sorted(found))}" if found else ""
        )
        yield Finding(what, WRONG, said + "; stages would wait for ever", manifests)
        return
    queue = found[name]
    active = [each for each in queue.get("status", {}).get("conditions", []) if each["type"] == "Active"]
    if not active:
        yield Finding(what, WARNING, "Kueue has not said yet whether it is active", "look again in a minute")
    elif active[0]["status"] != "True":
        said = f"it is not active: {active[0].get('message') or active[0].get('reason')}"
        yield Finding(what, WRONG, said, f"kubectl describe clusterqueue {queue['spec'].get('clusterQueue', '')}")
    else:
        waiting = queue["status"].get("pendingWorkloads", 0)
        yield Finding(what, OK, f"active, {waiting} waiting" if waiting else "active")


def check_quota(site: Site) -> Iterator[Finding]:
    """Yield whether a quota of the namespace leaves GPUs."""
    gpus, found = site.cluster.gpus, False
    for quota in site.in_namespace("resourcequotas")["items"] if gpus else []:
        resource, status = f"requests.{GPU}", quota.get("status", {})
        if resource in status.get("hard", {}):
            found = True
            most, used = int(status["hard"][resource]), int(status.get("used", {}).get(resource, 0))
            what, said = f"quota {quota['metadata']['name']}", f"{used} of {most} GPUs are in use"
            change = f"kubectl -n {site.namespace} edit resourcequota {quota['metadata']['name']}"
            if most < gpus:
                yield Finding(what, WRONG, f"{said}; a training needs {gpus}, and would never start", change)
            elif most - used < gpus:
                yield Finding(what, WARNING, f"{said}: trainings would wait", change)
            else:
                yield Finding(what, OK, said)
    if gpus and not found:
        yield Finding("quota", OK, "none limits the GPUs")
