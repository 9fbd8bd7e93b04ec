"""The runs of a cluster: finds runs by name or id, and describes their state and scores."""

import argparse
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

from kfp_server_api import ApiException, V2beta1Run

from audiotagging.base.errors import UserError
from audiotagging.base.typed_json import parse_json
from audiotagging.base.wording import duration
from audiotagging.evaluation.scores import EnsembleScores
from audiotagging.runs.pod_log import logged_message
from audiotagging.runs.run_stages import Workflow
from commands import TAGGING, TRAINING
from commands.cluster.answers import pages, readable
from commands.cluster.artifacts import read_artifact
from commands.cluster.client import Client, find_experiment
from commands.cluster.logs import read_log

PAGE = 50
IDENTITY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SCORES = re.compile(r"lwlrap of the ensemble: (.*)")
ENDED = {"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"}
STATES = {"CANCELING": "stopping", "CANCELED": "stopped"}  # more familiar words than Kubeflow's


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names a run."""
    parser.add_argument("run", metavar="RUN", help='id of the run or its beginning, name of the run, or "latest"')


def add_which(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses between the pipelines."""
    parser.add_argument(
        "--pipeline", choices=[TRAINING, TAGGING], help="only runs that train, or only runs that tag (default: both)"
    )


def list_runs(client: Client, experiment: str, *, namespace: str | None) -> Iterator[V2beta1Run]:
    """Yield the runs of an experiment, newest first."""
    found = find_experiment(client, experiment, namespace=namespace)
    if not found:
        return
    options = {"page_size": PAGE, "sort_by": "created_at desc", "experiment_id": found}
    for page in pages(lambda token: client.list_runs(page_token=token, **options)):
        yield from page.runs or []


def pipeline_of(run: V2beta1Run) -> str:
    """Return which pipeline a run is of, "training" or "tagging". Only the latter has the parameter `shards`."""
    with readable(f"the parameters of run {run.run_id}"):
        parameters = (run.runtime_config and run.runtime_config.parameters) or {}
        return TAGGING if "shards" in parameters else TRAINING


def find_run(
    client: Client, wanted: str, experiment: str, *, namespace: str | None, pipeline: str | None = None
) -> V2beta1Run:
    """Find a run.

    Args:
        client: The connection.
        wanted: Id of the run or its beginning, name of the run, or "latest".
        experiment: Name of the experiment of the run. A complete id is found in every experiment.
        namespace: The namespace of the experiment.
        pipeline: The pipeline of the latest run. None if it may be of any.

    Raises:
        UserError: If there is no such run, or more than one.
    """
    if IDENTITY.fullmatch(wanted):
        return client.get_run(wanted)
    runs = list_runs(client, experiment, namespace=namespace)
    if wanted == "latest":
        found = list(islice((run for run in runs if pipeline in (None, pipeline_of(run))), 1))
    else:
        found = [run for run in runs if run.display_name == wanted or run.run_id.startswith(wanted)]
    if not found:
        which = f" of the pipeline {pipeline}" if pipeline else ""
        raise UserError(
            f"expected the id or the name of a run{which} in experiment {experiment!r}, found {wanted!r}; "
            "`audiotagging runs` lists them"
        )
    if len(found) > 1:
        identities = ", ".join(run.run_id for run in found[:3])
        raise UserError(f"{len(found)} runs have a name or id that matches {wanted!r}; use an id: {identities}")
    return found[0]


def state(run: V2beta1Run, workflow: Workflow) -> str:
    """Return the state of a run in one word. Kubeflow itself calls a stopped run failed."""
    if run.state in ENDED and run.state != "SUCCEEDED" and workflow.stopped:
        return "stopped"
    return STATES.get(run.state, (run.state or "PENDING").lower())


def took(run: V2beta1Run) -> str:
    """Return how long a run took, or has taken so far."""
    end = run.finished_at if run.state in ENDED else None
    return duration(((end or datetime.now(UTC)) - run.created_at).total_seconds())


def read_scores(client: Client, run_id: str, workflow: Workflow) -> dict[str, float]:
    """Return the lwlrap of the ensemble by set of clips, or an empty dictionary if it is not available.

    The scores are in an artifact of the stage `evaluate` and in its log.
    """
    for stage in (stage for stage in workflow.stages if stage.name == "evaluate" and stage.pods):
        for uri in stage.outputs.get("scores", []):
            try:
                return parse_json(read_artifact(client, uri), EnsembleScores, source=uri)["ensemble"]
            except (ApiException, UserError):
                break
        for line in read_log(client, run_id, workflow, stage, stage.pods[-1]):
            if found := SCORES.search(line):
                return {name: float(score) for name, score in re.findall(r"(\w+) ([01]\.\d+)", found[1])}
    return {}


def read_tagged(client: Client, run_id: str, workflow: Workflow) -> str:
    """Return what the last stage of the pipeline `tagging` said at its end: how many files it tagged and where.

    Empty if no server has its log.
    """
    stages = {stage.name: stage for stage in workflow.stages if stage.name in ("find", "collect") and stage.pods}
    last = stages.get("collect") or stages.get("find")
    log = read_log(client, run_id, workflow, last, last.pods[-1]) if last else []
    return next((message for line in reversed(log) if (message := logged_message(line))), "")
