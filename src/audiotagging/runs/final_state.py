"""Asks Kubernetes and Kubeflow how the stages of a run ended, from a pod of the run.

Kubeflow's metadata do not know that: only the programs of stages report there. Nothing is reported of a driver that
fails or of a pod that is deleted, nor of stages that do not run because they are cached or have nothing to do. Argo,
which starts them all, has it in the run's workflow. The account that Kubeflow's stages run as may read workflows and
the logs of pods. Kubeflow's API has the states of a run, also those before a retry.
"""

import http.client
import json
import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from audiotagging.runs.argo import parse_workflow, workflow_nodes
from audiotagging.runs.run_stages import described
from audiotagging.runs.stage_failure import Reason, explain

SERVER = "https://kubernetes.default.svc"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")  # token, certificates and namespace of a pod
KUBEFLOW = "http://ml-pipeline:8888"  # its API, if Kubeflow has no users; with users, it wants another token
TIMEOUT = 10.0  # seconds
LOG_LINES = 200  # of a pod: it prints why it failed at the end

# What Kubeflow's metadata call the phases in which an Argo node may end.
STATES = {"Succeeded": "COMPLETE", "Failed": "FAILED", "Error": "FAILED"}

T = TypeVar("T")
logger = logging.getLogger(__name__)


def final_state(run: str, *, task: str) -> str | None:
    """Return how a task of a run ended, or None if that cannot be found out, which is logged.

    Args:
        run: Id of the run.
        task: Name of a task or of a group of tasks that has ended, such as the exit handler.

    Returns:
        "COMPLETE" or "FAILED", as Kubeflow's metadata call it.
    """

    def read() -> str:
        nodes = [node for node in workflow_nodes(_read_workflow(run)) if node["displayName"] == task]
        last = max(nodes, key=lambda node: node["startedAt"])  # after an error there are several trees
        return STATES[last["phase"]]

    return _or_logged(read, "the workflow of the run")


def failures(run: str, rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, Reason]]:
    """Return the names of the stages of a run that failed, with the reasons. What cannot be found out is logged.

    Args:
        run: Id of the run.
        rows: The rows of the loop, for the names of members. Empty if the loop has shards.
    """

    def read() -> list[tuple[str, Reason]]:
        return [
            (described(stage, pod, rows), explain(stage, pod, _read_log(pod.name) if pod else []))
            for stage, pod in parse_workflow(_read_workflow(run)).failed
        ]

    return _or_logged(read, "the failures of the run") or []


def was_idle(run: str) -> bool:
    """Return whether a run that has ended had nothing to do. If that cannot be found out, it is logged.

    Args:
        run: Id of the run.
    """
    return bool(_or_logged(lambda: parse_workflow(_read_workflow(run)).idle, "the stages of the run"))


def failed_before(run: str) -> bool:
    """Return whether a run has failed before, and was retried. If that cannot be found out, it is logged.

    Args:
        run: Id of the run.
    """

    def read() -> bool:
        states = json.loads(_get(f"{KUBEFLOW}/apis/v2beta1/runs/{run}"))["state_history"]
        return any(each["state"] == "FAILED" for each in states)

    return bool(_or_logged(read, "the earlier states of the run"))


def _or_logged(read: Callable[[], T], what: str) -> T | None:
    try:
        return read()
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
        logger.warning("%s cannot be read: %r", what, error)
        return None


def _read_workflow(run: str) -> dict[str, Any]:
    query = urlencode({"labelSelector": f"pipeline/runid={run}"})
    (workflow,) = json.loads(_ask_kubernetes("argoproj.io/v1alpha1", f"workflows?{query}"))["items"]
    return dict(workflow)


def _read_log(pod: str) -> list[str]:
    """Return the end of a pod's log, nothing if it is gone."""
    query = urlencode({"container": "main", "tailLines": LOG_LINES})
    log = _or_logged(lambda: _ask_kubernetes("", f"pods/{pod}/log?{query}"), f"the log of {pod}")
    return (log or b"").decode(errors="replace").splitlines()


def _ask_kubernetes(group: str, path: str) -> bytes:
    """Return the answer to a request about the namespace of this pod."""
    namespace = (ACCOUNT / "namespace").read_text()
    api = f"apis/{group}" if group else "api/v1"
    return _get(
        f"{SERVER}/{api}/namespaces/{namespace}/{path}",
        headers={"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"},
        context=ssl.create_default_context(cafile=ACCOUNT / "ca.crt"),
    )


def _get(url: str, *, headers: Mapping[str, str] = {}, context: ssl.SSLContext | None = None) -> bytes:
    with urlopen(Request(url, headers=dict(headers)), timeout=TIMEOUT, context=context) as answer:
        return bytes(answer.read())
