"""Reads the state of a run: the one place that knows in which form a server has it.

Version 1 of Kubeflow's API returns the Argo workflow, with all pods and with what they wait for. A server without
version 1 may have the run's tasks.
"""

import json
from typing import Any

from kfp_server_api import ApiException

from audiotagging.runs.argo import parse_workflow
from audiotagging.runs.run_stages import Workflow
from commands.cluster.answers import AnswerError, readable
from commands.cluster.client import NAMESPACE, Client
from commands.cluster.tasks import parse_tasks

PAGE = "200"  # tasks


def read_workflow(client: Client, run_id: str) -> Workflow:
    """Return the state of a run, from its Argo workflow or from its tasks.

    The result is empty if the run has not started, or if the server has neither.
    """
    answer = _found(client, f"/apis/v1beta1/runs/{run_id}")
    if answer is None:
        return _from_tasks(client, run_id)
    with readable(f"the workflow of run {run_id}"):
        manifest = json.loads(answer).get("pipeline_runtime", {}).get("workflow_manifest")
        return parse_workflow(json.loads(manifest)) if manifest else Workflow()


def _from_tasks(client: Client, run_id: str) -> Workflow:
    tasks: list[Any] = []
    seen, token = set[str](), ""
    while token not in seen:
        seen.add(token)
        answer = _found(client, f"/apis/v2beta1/runs/{run_id}/tasks", page_size=PAGE, page_token=token)
        if answer is None:
            return Workflow()
        with readable(f"the tasks of run {run_id}"):
            page = json.loads(answer)
            tasks += page.get("tasks") or []
            token = page.get("next_page_token") or ""
        if not token:
            with readable(f"the tasks of run {run_id}"):
                return parse_tasks(tasks, namespace=client.namespace or NAMESPACE)
    raise AnswerError(f"the tasks of run {run_id}: the same page follows again; try again later")


def _found(client: Client, path: str, **query: str) -> str | None:
    """Return an answer of the server, None if it has nothing of this name."""
    try:
        return client.get_text(path, **query)
    except ApiException as error:
        if error.status != 404:
            raise
        return None
