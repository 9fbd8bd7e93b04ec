"""Asks Kubernetes how the stages of a run ended, from a pod of the run.

Kubeflow's own metadata do not know that: only the programs of stages report there. Nothing is reported of a driver that
fails or of a pod that is deleted, nor of stages that do not run because they are cached or have nothing to do. Argo,
which starts them all, has it in the run's workflow. The account that Kubeflow's stages run as may read workflows.
"""

import http.client
import json
import logging
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from audiotagging.results.argo import workflow_nodes

SERVER = "https://kubernetes.default.svc"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")  # token, certificates and namespace of a pod
TIMEOUT = 10.0  # seconds

# What Kubeflow's metadata call the phases in which an Argo node may end.
STATES = {"Succeeded": "COMPLETE", "Failed": "FAILED", "Error": "FAILED"}

logger = logging.getLogger(__name__)


def final_state(run: str, *, task: str) -> str | None:
    """Return how a task of a run ended, or None if that cannot be found out, which is logged.

    Args:
        run: Id of the run.
        task: Name of a task or of a group of tasks that has ended, such as the exit handler.

    Returns:
        "COMPLETE" or "FAILED", as Kubeflow's metadata call it.
    """
    try:
        nodes = [node for node in _read_nodes(run) if node["displayName"] == task]
        last = max(nodes, key=lambda node: node["startedAt"])  # after an error there are several trees
        return STATES[last["phase"]]
    except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
        logger.warning("the workflow of the run cannot be read: %r", error)
        return None


def _read_nodes(run: str) -> list[dict[str, Any]]:
    """Return the nodes of a run's workflow."""
    namespace = (ACCOUNT / "namespace").read_text()
    query = urlencode({"labelSelector": f"pipeline/runid={run}"})
    request = Request(
        f"{SERVER}/apis/argoproj.io/v1alpha1/namespaces/{namespace}/workflows?{query}",
        headers={"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"},
    )
    with urlopen(request, timeout=TIMEOUT, context=ssl.create_default_context(cafile=ACCOUNT / "ca.crt")) as answer:
        (workflow,) = json.load(answer)["items"]
    return workflow_nodes(workflow)
