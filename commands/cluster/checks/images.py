"""Whether the images of the stages, and those that Kubeflow adds to their pods, are on the nodes or in a registry."""

from collections.abc import Iterator
from itertools import pairwise

from audiotagging.base.wording import pluralize
from commands.cluster.checks.finding import OK, UNSEEN, WARNING, WRONG, Finding
from commands.cluster.checks.nodes import Node, usable_nodes
from commands.cluster.checks.registry import has_host, registry_has
from commands.cluster.checks.site import Site
from commands.cluster.client import NAMESPACE
from commands.cluster.kubernetes import UnseenError

LISTED, NAMES = 50, 5  # images of a node that Kubernetes lists at most, the largest ones, and names of each
NODES = "bring it onto the nodes, which report it within a minute"
# Where the deployments of Kubeflow name the images of its driver, its launcher and Argo's executor.
VARIABLES, OPTION = ("V2_DRIVER_IMAGE", "V2_LAUNCHER_IMAGE"), "--executor-image"


def check_images(site: Site) -> Iterator[Finding]:
    """Yield for every image whether the nodes have it or, if not, whether its registry does."""
    try:
        nodes: list[Node] | None = usable_nodes(site)
    except UnseenError:
        nodes = None
    registry = site.cluster.registry
    if registry:
        push = f"make push REGISTRY={registry} TORCH={site.cluster.torch}, also after every change of the code"
    else:
        push = f"make push REGISTRY=HOST/PATH, and --registry HOST/PATH; or {NODES}"
    for image in site.images:
        yield _image(image, nodes, in_registry=bool(registry), remedy=push)
    for image in _kubeflows_own(site):
        yield _image(image, nodes, in_registry=has_host(image), remedy=NODES)


def _kubeflows_own(site: Site) -> list[str]:
    """Return the images that Kubeflow's deployments name for the pods of a run, as far as they name them."""
    deployments = site.kubernetes.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments")["items"]
    found = []
    for container in (each for item in deployments for each in item["spec"]["template"]["spec"]["containers"]):
        found += [each["value"] for each in container.get("env") or [] if each["name"] in VARIABLES and "value" in each]
        arguments = container.get("args") or []
        found += [image for option, image in pairwise(arguments) if option == OPTION]
    return sorted(set(found))


def _image(image: str, nodes: list[Node] | None, *, in_registry: bool, remedy: str) -> Finding:
    """Return whether an image can be had.

    Args:
        image: The reference.
        nodes: The nodes that can run stages. None if they are not seen.
        in_registry: Whether a node that has not got it can ask a registry.
        remedy: What to do if it cannot be had.
    """
    name = image.rpartition("/")[2]
    what = "image " + name.partition(":")[0].removeprefix("audiotagging-")
    if nodes is None and not in_registry:
        return Finding(what, UNSEEN, f"whether the nodes have {name}, see the row nodes", remedy)
    names = {image, f"docker.io/library/{image}", f"docker.io/{image}"}
    having = [node for node in nodes or [] if names & _images(node)]
    if nodes and len(having) == len(nodes):
        return Finding(what, OK, f"{name} is on {pluralize(len(nodes), 'node')}")
    if in_registry:
        return _pulled(image, what, remedy)
    if any(map(_lists_only_some, nodes or [])):
        said = f"{name} is not among the images that Kubernetes lists of its nodes"
        return Finding(what, UNSEEN, said, f"--probe, or {remedy}")
    if having:
        said = f"{name} is on {len(having)} of {pluralize(len(nodes or []), 'node')}, and the others cannot pull it"
        return Finding(what, WARNING, said, remedy)
    return Finding(what, WRONG, f"{name} is on no node, and without a registry it cannot be pulled", remedy)


def _pulled(image: str, what: str, remedy: str) -> Finding:
    try:
        if registry_has(image):
            return Finding(what, OK, f"{image} is in its registry")
    except UnseenError as error:
        return Finding(what, UNSEEN, f"whether {image} can be pulled: {error}", "--probe pulls one image on a node")
    return Finding(what, WRONG, f"its registry has no {image}", remedy)


def _images(node: Node) -> set[str]:
    return {name for image in node["status"].get("images") or [] for name in image.get("names") or []}


def _lists_only_some(node: Node) -> bool:
    """Return whether a node may have images, or names of them, that Kubernetes does not list."""
    images = node["status"].get("images") or []
    return len(images) >= LISTED or any(len(image.get("names") or []) >= NAMES for image in images)
