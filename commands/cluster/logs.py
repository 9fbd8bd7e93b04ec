"""Reads the logs of the stages of a run, from their pods while these exist, and otherwise from the archive."""

from collections.abc import Callable
from functools import partial

from kfp_server_api import ApiException

from audiotagging.runs.run_stages import Pod, Stage, Workflow
from commands.cluster.artifacts import read_artifact
from commands.cluster.client import Client


def read_log(client: Client, run_id: str, workflow: Workflow, stage: Stage | None, pod: Pod) -> list[str]:
    """Return the lines of a pod's log, of a stage or of none. There are none if no server has them.

    The server of the API does not find the pods and archived logs of many runs: it searches the namespace that its
    database has for the run, which is empty for runs created through the API, and it does not decompress Argo's nodes.
    The server of the page has the pods in its namespace, and every archived log whose URI is known.
    """
    for ask in _places(client, run_id, workflow, stage, pod):
        try:
            text = ask().decode(errors="replace")
        except ApiException:
            continue
        if text and not text.startswith('{"error_message"'):  # with status 200
            return text.splitlines()
    return []


def _places(
    client: Client, run_id: str, workflow: Workflow, stage: Stage | None, pod: Pod
) -> list[Callable[[], bytes]]:
    """Return the requests that may return the log, most likely first."""
    archived = [pod.log] if pod.log else []
    outputs = stage.outputs if stage and pod.role == "executor" else {}
    of_the_program = [f"{uri}-{pod.retry}" for uri in outputs.get("executor-logs", [])]
    return [
        *(partial(read_artifact, client, uri) for uri in archived),
        partial(client.get, "/k8s/pod/logs", podname=pod.name, podnamespace=workflow.namespace),
        partial(client.get, f"/apis/v1alpha1/runs/{run_id}/nodes/{pod.name}/log"),
        *(partial(read_artifact, client, uri) for uri in of_the_program),
    ]
