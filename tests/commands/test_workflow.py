"""How the workflow of a run is asked for."""

import base64
import gzip
import json

import pytest
from helpers.workflows import recorded

from audiotagging.runs.argo import parse_workflow
from audiotagging.runs.run_stages import Workflow
from commands.cluster.workflow import read_workflow


@pytest.mark.parametrize("packed", [False, True])
def test_nodes_are_read_also_where_they_are_compressed(server, client, packed):
    workflow = recorded("cached")
    if packed:
        nodes = workflow["status"].pop("nodes")
        workflow["status"]["compressedNodes"] = base64.b64encode(gzip.compress(json.dumps(nodes).encode())).decode()
    runtime = {"pipeline_runtime": {"workflow_manifest": json.dumps(workflow)}}
    server.broken = {r"GET /apis/v1beta1/runs/x": (200, runtime)}
    assert read_workflow(client, "x") == parse_workflow(recorded("cached"))


@pytest.mark.parametrize("answer", [(404, "Not Found"), (200, {"pipeline_runtime": {}})])
def test_without_a_workflow_there_are_no_stages(server, client, answer):
    server.broken = {r"GET /apis/v1beta1/runs/x": answer}
    assert read_workflow(client, "x") == Workflow()
