"""A pod like those of the stages, for a few seconds: whether one starts, and what it sees of volumes and stores."""

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from audiotagging.base.full_disk import readable as readable_size
from audiotagging.base.object_store import SECRET
from commands.cluster.answers import readable
from commands.cluster.checks.finding import OK, UNSEEN, WARNING, WRONG, Finding
from commands.cluster.checks.site import Site
from commands.cluster.events import of_now
from commands.cluster.kubernetes import UnseenError
from commands.cluster.waiting import waits_for
from components.cluster import COMPONENT, PART_OF, PROGRAM, USER

POLL = 1.0  # seconds between two requests
SECONDS = 60  # until the pod must have ended
HOPELESS = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError"}
LEAST = 100 << 20  # bytes without which nothing fits
ROOM = 5 << 30  # bytes for some members, of 0.3 to 0.5 GB each (manifests/base/volumes.yaml)
SHARE = 0.1  # of a volume that should be free
IMAGE = "audiotagging-data"  # which can open object stores
# Prints what it sees, as JSON. It is run in the image of another version at most, so it uses little of the library.
CODE = """
import json, os, shutil, sys
from audiotagging.base.object_store import open_store
folders, urls, inputs = json.loads(sys.argv[1])
seen = {"folders": {}, "urls": {}}
for folder in folders:
    usage = shutil.disk_usage(folder)
    seen["folders"][folder] = [usage.free, usage.total, os.access(folder, os.W_OK)]
for url in urls:
    try:
        store, path = open_store(url)
        missing = store.get_file_info(path).type.name == "NotFound"
        seen["urls"][url] = "there is nothing of this name in the store" if missing and url in inputs else ""
    except Exception as error:
        seen["urls"][url] = " ".join(str(error).split())[:300] or type(error).__name__
print(json.dumps(seen))
"""


def check_by_pod(site: Site) -> Iterator[Finding]:
    """Start a pod with the volumes and the secret of the stages, and yield what came of it. The pod is deleted."""
    pods, started = f"/api/v1/namespaces/{site.namespace}/pods", time.monotonic()
    answer = site.kubernetes.request("POST", pods, body=_pod(site))
    if answer is None:
        raise UnseenError(f"there is no namespace {site.namespace}")
    name = json.loads(answer)["metadata"]["name"]
    try:
        pod = _ended(site, name)
        if pod["status"]["phase"] != "Succeeded":
            yield _failure(site, name, pod)
            return
        yield Finding("probe", OK, f"a pod like those of the stages took {time.monotonic() - started:.0f} s")
        log = site.kubernetes.request("GET", f"{pods}/{name}/log") or ""
    finally:
        site.kubernetes.request("DELETE", f"{pods}/{name}", query={"gracePeriodSeconds": "0"})
    with readable("the log of the probe"):
        seen = json.loads(log.splitlines()[-1])
        yield from [_space(site, folder, *values) for folder, values in seen["folders"].items()]
        yield from [_store(site, url, error) for url, error in seen["urls"].items()]


def _pod(site: Site) -> dict[str, Any]:
    image = next(each for each in (*site.images, "") if IMAGE in each or not each)
    mounts = [{"name": f"volume-{number}", "mountPath": folder} for number, folder in enumerate(site.claims)]
    volumes: list[dict[str, Any]] = [
        {"name": f"volume-{number}", "persistentVolumeClaim": {"claimName": claim}}
        for number, claim in enumerate(site.claims.values())
    ]
    if site.cluster.secret:
        mounts.append({"name": "secret", "mountPath": str(SECRET)})
        volumes.append({"name": "secret", "secret": {"secretName": site.cluster.secret}})
    wanted = json.dumps([list(site.claims), [*site.sources, *site.targets], list(site.sources)])
    labels = {PART_OF: PROGRAM, COMPONENT: "doctor"}
    if site.cluster.queue:
        labels["kueue.x-k8s.io/queue-name"] = site.cluster.queue
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "audiotagging-doctor-", "labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": 2 * SECONDS,  # if nobody deletes it
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "probe",
                    "image": image,
                    "command": ["python", "-c", CODE, wanted],
                    "volumeMounts": mounts,
                    "resources": {
                        "requests": {"cpu": "50m", "memory": "128Mi"},
                        "limits": {"cpu": "1", "memory": "512Mi"},
                    },
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
            "volumes": volumes,
        },
    }


def _ended(site: Site, name: str) -> dict[str, Any]:
    """Return the pod when it has ended, cannot start, or has taken too long."""
    last = time.monotonic() + SECONDS
    while True:
        pod: dict[str, Any] = site.in_namespace("pods", name)
        states = [each.get("state", {}) for each in pod["status"].get("containerStatuses", [])]
        hopeless = any(state.get("waiting", {}).get("reason") in HOPELESS for state in states)
        if pod["status"]["phase"] in ("Succeeded", "Failed") or hopeless or time.monotonic() > last:
            return pod
        time.sleep(POLL)


def _failure(site: Site, name: str, pod: dict[str, Any]) -> Finding:
    """Return why a pod did not succeed."""
    if pod["status"]["phase"] == "Failed":
        log = site.kubernetes.request("GET", f"/api/v1/namespaces/{site.namespace}/pods/{name}/log") or ""
        said = (log.strip().splitlines() or [pod["status"].get("message") or "without a message"])[-1]
        return Finding("probe", WRONG, f"a pod like those of the stages failed: {said}", "the row says what is missing")
    node = pod["spec"].get("nodeName", "")
    events = site.in_namespace("events", fieldSelector=f"involvedObject.name={name}")["items"]
    gates = ", ".join(gate["name"] for gate in pod["spec"].get("schedulingGates") or [])
    reason = of_now(events, starting=True, node=node) or (f"Gated: {gates}" if gates else "")
    if not reason:
        said = f"a pod like those of the stages has not ended after {SECONDS} s, and Kubernetes gives no reason"
        return Finding("probe", UNSEEN, said, "the nodes may be busy: try again")
    waits, more = waits_for(reason)
    said = f"a pod like those of the stages waits for {waits}" + (f": {more}" if more else "")
    if "being pulled" in waits:
        return Finding("probe", UNSEEN, said, "try again when the node has it")
    return Finding("probe", WRONG, said, f"kubectl -n {site.namespace} get events --sort-by .lastTimestamp says more")


def _space(site: Site, folder: str, free: int, total: int, writable: bool) -> Finding:
    claim = site.claims[folder]
    what, said = f"space on {claim}", f"{readable_size(free)} of {readable_size(total)} are free"
    if not writable:
        said = f"user {USER}, as which the stages run, may not write to it; {said}"
        remedy = f"kubectl -n {site.namespace} delete job audiotagging-volumes, and apply the manifests again"
        return Finding(what, WRONG, said, remedy)
    if free < LEAST:
        return Finding(what, WRONG, f"{said}: it is full", "remove what is not needed, or enlarge the claim")
    if free < total * SHARE or (free < ROOM and not site.cluster.small):
        said += ": it is nearly full" if free < total * SHARE else f", which is less than {readable_size(ROOM)}"
        return Finding(what, WARNING, said, "remove what is not needed, or enlarge the claim")
    return Finding(what, OK, said)


def _store(site: Site, url: str, error: str) -> Finding:
    what = f"store {urlsplit(url).netloc}"
    if error:
        remedy = "check the URL, the secret, and the ports in manifests/base/network.yaml"
        return Finding(what, WRONG, f"{url}: {error.removeprefix(f'{url} ')}", remedy)
    return Finding(what, OK, f"{url} was opened from a pod")
