"""Reads the Argo workflow of a run. Only version 1 of Kubeflow's API returns it."""

import json

from kfp_server_api import ApiException

from audiotagging.runs.argo import parse_workflow
from audiotagging.runs.run_stages import Workflow
from commands.cluster.answers import readable
from commands.cluster.client import Client


def read_workflow(client: Client, run_id: str) -> Workflow:
    """Return the state of a run according to Argo.

    The result is empty if the workflow has not started, or if the API of the server has no version 1 any more.
    """
    try:
        answer = client.get_text(f"/apis/v1beta1/runs/{run_id}")
    except ApiException as error:
        if error.status != 404:
            raise
        return Workflow()
    with readable(f"the workflow of run {run_id}"):
        manifest = json.loads(answer).get("pipeline_runtime", {}).get("workflow_manifest")
        return parse_workflow(json.loads(manifest)) if manifest else Workflow()
