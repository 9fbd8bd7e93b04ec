"""What the checks know of a cluster and of what is to run on it."""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import urllib3
from kfp.dsl.graph_component import GraphComponent
from kfp_server_api import ApiException

from audiotagging.base.errors import UserError
from commands.cluster.answers import UNREADABLE
from commands.cluster.checks.finding import UNSEEN, WRONG, Finding
from commands.cluster.client import NAMESPACE, Client
from commands.cluster.kubernetes import ForbiddenError, Kubernetes, UnseenError, open_kubernetes
from commands.kfp_internals import images_of, stages_of
from components.cluster import NEEDS, SMALL, Cluster

LOGS = f"kubectl -n {NAMESPACE} get pods; kubectl -n {NAMESPACE} logs deployment/ml-pipeline"
PAGE = "app=ml-pipeline-ui"  # the label of the pods of Kubeflow's page


@dataclass(frozen=True)
class Site:
    """A cluster, and the pipeline that is to run on it.

    Attributes:
        client: The connection to Kubeflow. None if it does not answer.
        connected: The connection to Kubernetes, or why there is none.
        users_namespace: The namespace of the user. None if Kubeflow has no users.
        experiment: Name of the experiment.
        cluster: The settings of the cluster.
        stages: Names of the pipeline's stages.
        images: References of their images.
        sources: The folders in object stores that the run reads.
        targets: Those that it writes.
    """

    client: Client | None
    connected: Kubernetes | str
    users_namespace: str | None
    experiment: str
    cluster: Cluster
    stages: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    @property
    def namespace(self) -> str:
        """The namespace of the stages."""
        return self.users_namespace or NAMESPACE

    @property
    def kubernetes(self) -> Kubernetes:
        """The connection to Kubernetes.

        Raises:
            UnseenError: If there is none.
        """
        if isinstance(self.connected, str):
            raise UnseenError(self.connected)
        return self.connected

    @property
    def claims(self) -> dict[str, str]:
        """The folders of the volumes that the stages need, with the names of their claims."""
        folders = {folder for stage in self.stages for folder in NEEDS[stage].volumes}
        return {folder: claim for folder, claim in self.cluster.claims.items() if claim and folder in folders}

    def in_namespace(self, kind: str, name: str = "", **query: str) -> Any:
        """Return an object of the core API in the namespace of the stages, or a list of all; None if there is none."""
        return self.kubernetes.get(
            f"/api/v1/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else ""), **query
        )

    def requests(self, stage: str) -> tuple[str, str]:
        """Return the CPU and the memory that a stage requests, as Kubernetes writes them."""
        cpu, _, memory, _ = SMALL if self.cluster.small else NEEDS[stage].resources
        return cpu, memory


def site_of(args: argparse.Namespace, client: Client | None, pipeline: GraphComponent, cluster: Cluster) -> Site:
    """Return what is known of a cluster.

    Args:
        args: The options of the command.
        client: The connection to Kubeflow. None if it does not answer.
        pipeline: The pipeline, as it is to run.
        cluster: The settings of the cluster.
    """
    connected: Kubernetes | str
    try:
        connected = open_kubernetes()
    except UnseenError as error:
        connected = str(error)
    return Site(
        client=client,
        connected=connected,
        users_namespace=args.namespace,
        experiment=args.experiment,
        cluster=cluster,
        stages=tuple(stages_of(pipeline)),
        images=tuple(images_of(pipeline)),
        sources=_urls(args, "data", "init"),
        targets=_urls(args, "out"),
    )


def _urls(args: argparse.Namespace, *options: str) -> tuple[str, ...]:
    named = (str(getattr(args, option, None) or "") for option in options)
    return tuple(url for url in named if "://" in url)


def same_cluster(client: Client, kubernetes: Kubernetes) -> bool | None:
    """Return whether kubectl's context is the cluster of this Kubeflow, None if that cannot be seen.

    It is if Kubeflow's page sees the same pod as kubectl.

    Raises:
        UnseenError: If Kubernetes does not answer.
    """
    try:
        found = kubernetes.get(f"/api/v1/namespaces/{NAMESPACE}/pods", labelSelector=PAGE)
    except ForbiddenError:
        return None
    if not found or not found["items"]:
        return False
    name, uid = (found["items"][0]["metadata"][key] for key in ("name", "uid"))
    try:
        said = client.get_text("/k8s/pod", podname=name, podnamespace=NAMESPACE)
        return bool(json.loads(said)["metadata"]["uid"] == uid)
    except ApiException as error:
        return False if error.status == 500 else None  # the page's answer if there is no such pod
    except (urllib3.exceptions.HTTPError, *UNREADABLE):
        return None


Check = Callable[[Site], Iterable[Finding]]


def look(site: Site, checks: Iterable[tuple[str, Check]]) -> Iterator[Finding]:
    """Yield what checks find.

    Args:
        site: The cluster.
        checks: Each check with what it looks at, for the row that says that it could not.
    """
    for what, check in checks:
        try:
            yield from check(site)
        except ForbiddenError as error:
            yield Finding(what, UNSEEN, str(error), "an administrator of the cluster can allow it")
        except UnseenError as error:
            yield Finding(what, UNSEEN, str(error))
        except ApiException as error:
            yield Finding(what, WRONG, f"the server of Kubeflow's API answered {error.status} {error.reason}", LOGS)
        except (urllib3.exceptions.HTTPError, UserError) as error:
            yield Finding(what, WRONG, f"no usable answer of Kubeflow's API: {error}", LOGS)
