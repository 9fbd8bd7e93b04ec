"""Workflows of real runs, as Kubeflow Pipelines 2.17.0 with Argo 4.0.5 showed them (tests/reference/workflows).

Of each node the fields that are read are kept as they were; of its driver's patch the command, up to the executor's
input, and the resources.

    cached   the same data and options as a run before: only `ingest` and `promote` had work to do
    retried  a training was killed, so the run failed; it was retried and succeeded
    waiting  thirty rows, a quota of six GPUs and a node that has two
    refused  `--data` names nothing; refused.log is what the pod of `ingest` left
    stopped  somebody stopped it
    unprepared
             the driver of `ingest` failed, and the exit handler told that the run did
    killed   six looks at a run of two members, in which the first one's training was killed
    plain    five looks at such a run where Argo has no `templateDefaults`, so that the training was tried again;
             killed.log is what the pod of its first try left
"""

import gzip
import json
import re
from pathlib import Path

TRY = re.compile(r"\((\d+)\)(?=\.|$)")
FOLDER = Path(__file__).parent.parent / "reference" / "workflows"


def recorded(name):
    return json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))


def changed(workflow, path, **fields):
    """Return a workflow whose nodes with a path that ends so have other fields."""
    nodes = workflow["status"]["nodes"]
    return copied(
        workflow, {key: node | (fields if node["name"].endswith(path) else {}) for key, node in nodes.items()}
    )


def without_retries(workflow):
    """Return a workflow as it is without Kubeflow's `templateDefaults`: only the program is tried again."""
    name, nodes = workflow["metadata"]["name"], {}
    for key, node in workflow["status"]["nodes"].items():
        above, _, last = node["name"].removeprefix(name).rpartition(".")
        program = last.startswith("executor")
        if program or node["type"] != "Retry":
            path = TRY.sub("", above) + "." + (last if program else TRY.sub("", last))
            nodes[key] = node | {"name": name + path.removeprefix(".")}
    return copied(workflow, nodes)


def with_second_tree(workflow, lost):
    """Return a workflow as after an error of Argo at a node: below NAME(0) what was before, below NAME(1) all again."""
    name, nodes = workflow["metadata"]["name"], {}
    end = next(node for node in workflow["status"]["nodes"].values() if node["name"].endswith(lost))
    for key, node in workflow["status"]["nodes"].items():
        nodes[key] = node | {"name": node["name"].replace(f"{name}(0)", f"{name}(1)", 1)}
        if node["startedAt"] <= end["startedAt"] and node["name"] != name:
            broken = {"phase": "Error", "message": "pod deleted"} if end["name"].startswith(node["name"]) else {}
            nodes[f"{key}-0"] = node | broken
    return copied(workflow, nodes)


def copied(workflow, nodes):
    return workflow | {"status": workflow["status"] | {"nodes": nodes}}


def without_news(workflow):
    """Return a workflow as it is if `ingest` found nothing new: its condition is not met, and has no nodes below it."""
    nodes = workflow["status"]["nodes"].items()
    kept = {key: node for key, node in nodes if node["type"] in {"Retry", "DAG", "Pod"} and _is_before(node["name"])}
    root = next(node for node in kept.values() if node["name"].endswith(".root(0)"))
    omitted = root | {"name": f"{root['name']}.condition-1", "displayName": "condition-1", "type": "Skipped"}
    return copied(workflow, kept | {"condition-1": omitted | {"id": "condition-1", "phase": "Skipped"}})


def _is_before(path):
    return not re.search(r"\.(?!root\b|ingest\b|ingest-driver\b|root-driver\b|executor\b)", path)
