"""Whether the nodes can run the stages: their size and their GPUs. Needs a role for the whole cluster."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import partial
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from audiotagging.base.wording import listed, pluralize
from commands.cluster.checks.finding import OK, WARNING, WRONG, Finding
from commands.cluster.checks.site import Site
from commands.cluster.kubernetes import UnseenError
from commands.cluster.waiting import GPU
from components.cluster import NEEDS

SHARED = "ReadWriteMany"  # of a volume that several nodes can mount
Node = dict[str, Any]


def check_sizes(site: Site) -> Iterator[Finding]:
    """Yield whether some node is large enough for every stage."""
    nodes = usable_nodes(site)
    if not nodes:
        yield Finding("nodes", WRONG, "no node is ready and takes pods", "kubectl get nodes")
        return
    too_large = []
    for stage in site.stages:
        needed = dict(zip(("cpu", "memory"), site.requests(stage), strict=True))
        where = (
            [node for node in nodes if _is_for_gpus(site, node)] if NEEDS[stage].gpu and site.cluster.gpus else nodes
        )
        if where and not any(
            all(_has(node, kind) >= parse_quantity(need) for kind, need in needed.items()) for node in where
        ):
            too_large.append(f"{stage} ({needed['cpu']} CPUs, {needed['memory']} of memory)")
    largest = max(nodes, key=partial(_has, kind="memory"))["status"]["allocatable"]
    gib = _has(max(nodes, key=partial(_has, kind="memory")), "memory") / 2**30
    said = f"{pluralize(len(nodes), 'node')}, the largest with {largest['cpu']} CPUs and {gib:.0f} GiB of memory"
    if too_large:
        said += f": too small for {', '.join(too_large)}, which would wait for ever"
        yield Finding("nodes", WRONG, said, "--small for the demo data, or larger nodes")
    else:
        yield Finding("nodes", OK, said)


def check_sharing(site: Site) -> Iterator[Finding]:
    """Yield whether stages on several nodes can have the volumes."""
    claims = {name: site.in_namespace("persistentvolumeclaims", name) or {"spec": {}} for name in site.claims.values()}
    alone = [name for name, claim in claims.items() if SHARED not in claim["spec"].get("accessModes", [SHARED])]
    nodes = len(usable_nodes(site))
    if alone and nodes > 1:
        said = f"{listed(alone)} can be mounted on one node at a time, and there are {nodes}: stages would wait"
        yield Finding("sharing of volumes", WARNING, said, f"claims of a storage class with {SHARED}")
    else:
        yield Finding("sharing of volumes", OK, "all nodes can mount them" if not alone else "there is only one node")


def check_gpus(site: Site) -> Iterator[Finding]:
    """Yield whether there are nodes with the label and enough GPUs, and how many GPUs are free."""
    gpus, label = site.cluster.gpus, "=".join(site.cluster.gpu_label)
    if not gpus:
        yield Finding("GPUs", OK, "none are asked for (--gpus 0)")
        return
    nodes = _nodes(site)
    with_gpus = [node for node in nodes if _has(node, GPU)]
    labelled = [node for node in nodes if _is_for_gpus(site, node)]
    if not labelled:
        names = " ".join(_name(node) for node in with_gpus)
        said = f"no node has the label {label}; " + (f"GPUs are on {names}" if names else "no node has a GPU")
        remedy = (
            f"kubectl label node {names} {label}; or --gpu-label KEY=VALUE" if names else "--gpus 0 to train on CPUs"
        )
        yield Finding("GPUs", WRONG, said, remedy)
        return
    usable = [node for node in labelled if _takes_stages(node) and _has(node, GPU) >= gpus]
    if not usable:
        said = f"no node with the label {label} is ready and has {pluralize(gpus, 'GPU')}"
        yield Finding(
            "GPUs", WRONG, said, "kubectl describe nodes; the device plugin reports the GPUs (docs/cluster.md)"
        )
        return
    total = sum(int(_has(node, GPU)) for node in usable)
    where = f"{total} on {pluralize(len(usable), 'node')} with the label {label}"
    try:
        used = _gpus_in_use(site, {_name(node) for node in usable})
    except UnseenError as error:
        yield Finding("GPUs", OK, f"{where}; how many are free: not seen ({error})")
        return
    free = total - used
    if free >= gpus:
        yield Finding("GPUs", OK, f"{free} of {where} are free")
    else:
        yield Finding(
            "GPUs", WARNING, f"{free} of {where} are free: trainings would wait", "`audiotagging runs` lists runs"
        )


def usable_nodes(site: Site) -> list[Node]:
    """Return the nodes that can run stages.

    Raises:
        UnseenError: If the user may not see nodes.
    """
    return [node for node in _nodes(site) if _takes_stages(node)]


def _nodes(site: Site) -> list[Node]:
    return list(site.kubernetes.get("/api/v1/nodes")["items"])


def _name(node: Node) -> str:
    return str(node["metadata"]["name"])


def _has(node: Node, kind: str) -> Decimal:
    """Return how much of a resource a node can give to pods."""
    return Decimal(parse_quantity(node["status"].get("allocatable", {}).get(kind, "0")))


def _is_for_gpus(site: Site, node: Node) -> bool:
    key, value = site.cluster.gpu_label
    return bool(node["metadata"].get("labels", {}).get(key) == value)


def _takes_stages(node: Node) -> bool:
    """Return whether a node is ready, and has no taint that the stages do not tolerate."""
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"].get("conditions", []))
    taints = [each for each in node["spec"].get("taints") or [] if each["effect"] != "PreferNoSchedule"]
    return ready and all(taint["key"] == GPU and taint["effect"] == "NoSchedule" for taint in taints)


def _gpus_in_use(site: Site, names: set[str]) -> int:
    """Return how many GPUs of nodes the pods have that have not ended."""
    unfinished = "status.phase!=Succeeded,status.phase!=Failed"
    pods = site.kubernetes.get("/api/v1/pods", fieldSelector=unfinished)["items"]
    return sum(_gpus(pod["spec"]["containers"]) for pod in pods if pod["spec"].get("nodeName") in names)


def _gpus(containers: Iterable[dict[str, Any]]) -> int:
    return sum(int(each.get("resources", {}).get("limits", {}).get(GPU, 0)) for each in containers)
