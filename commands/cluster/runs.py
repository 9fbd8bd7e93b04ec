"""The runs of a cluster: found by what people call them, and what there is to say of one in a line."""

import argparse
import json
import re
from collections.abc import Iterator
from datetime import timedelta

from kfp_server_api import ApiException, V2beta1Run

from audiotagging.errors import UserError
from commands.cluster.artifacts import read_artifact
from commands.cluster.client import Client, named
from commands.cluster.logs import read_log
from commands.cluster.workflow import Workflow

PAGE = 50
IDENTITY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SCORES = re.compile(r"lwlrap of the ensemble: (.*)")
ENDED = {"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"}
STATES = {"CANCELING": "stopping", "CANCELED": "stopped"}  # where people say it otherwise than Kubeflow


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the argument that says which run is meant."""
    parser.add_argument("run", metavar="RUN", help='its id or the beginning of it, its name, or "latest"')


def list_runs(client: Client, experiment: str, *, namespace: str | None) -> Iterator[V2beta1Run]:
    """Yield the runs of an experiment, the newest first."""
    found = client.list_experiments(filter=named(experiment), namespace=namespace).experiments
    token = "" if found else None
    while token is not None:
        page = client.list_runs(
            page_token=token, page_size=PAGE, sort_by="created_at desc", experiment_id=found[0].experiment_id
        )
        yield from page.runs or []
        token = page.next_page_token or None


def find_run(client: Client, wanted: str, experiment: str, *, namespace: str | None) -> V2beta1Run:
    """Return a run.

    Args:
        client: The connection.
        wanted: Its id or the beginning of it, its name, or "latest".
        experiment: Name of the experiment that it is in; an id is found in any.
        namespace: The namespace of the experiment.

    Raises:
        UserError: If there is none, or more than one.
    """
    if IDENTITY.fullmatch(wanted):
        return client.get_run(wanted)
    runs = list_runs(client, experiment, namespace=namespace)
    if wanted == "latest":
        found = [run for run, _ in zip(runs, range(1), strict=False)]
    else:
        found = [run for run in runs if run.display_name == wanted or run.run_id.startswith(wanted)]
    if not found:
        raise UserError(
            f"expected the id or the name of a run in experiment {experiment!r}, found {wanted!r}; "
            "`pipeline.py runs` lists them"
        )
    if len(found) > 1:
        identities = ", ".join(run.run_id for run in found[:3])
        raise UserError(f"{len(found)} runs are called {wanted!r} or begin so; give one's id: {identities}")
    return found[0]


def state(run: V2beta1Run, workflow: Workflow) -> str:
    """Return the state of a run in a word. Kubeflow itself calls one that was stopped failed."""
    if run.state in ENDED and run.state != "SUCCEEDED" and workflow.stopped:
        return "stopped"
    return STATES.get(run.state, run.state.lower())


def read_scores(client: Client, run_id: str, workflow: Workflow) -> dict[str, float]:
    """Return the ensemble's lwlrap by subset of clips; nothing if they are not to be had.

    They stand in an artifact of the stage `evaluate`, and in its log.
    """
    for stage in (stage for stage in workflow.stages if stage.name == "evaluate" and stage.pods):
        for uri in stage.outputs.get("scores", []):
            try:
                return dict(json.loads(read_artifact(client, uri))["ensemble"])
            except ApiException:
                break
        for line in read_log(client, run_id, workflow, stage, stage.pods[-1]):
            if found := SCORES.search(line):
                return {name: float(score) for name, score in re.findall(r"(\w+) ([01]\.\d+)", found[1])}
    return {}


def duration(time: timedelta) -> str:
    """Return a time as people write it: "43 s", "12 min", "1 h 20 min"."""
    seconds = round(time.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
