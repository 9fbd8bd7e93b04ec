"""List the newest runs on a Kubeflow cluster.

Examples:
    audiotagging runs --host http://localhost:8080
    audiotagging runs --limit 50 --experiment nightly
"""

import argparse
import re
from itertools import islice

from kfp_server_api import V2beta1Run

from audiotagging.runs.run_stages import Workflow
from commands import TAGGING
from commands.cluster.client import Client, add_connection, connection
from commands.cluster.runs import (
    ENDED,
    add_which,
    list_runs,
    pipeline_of,
    read_scores,
    read_tagged,
    state,
    took,
)
from commands.cluster.workflow import read_workflow

HEADER = ("name", "id", "pipeline", "state", "started", "duration", "result")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--limit", type=int, default=10, metavar="N", help="number of runs to list (default: 10)")
    add_which(parser)
    add_connection(parser)


def run(args: argparse.Namespace) -> int:
    """Print one line per run, newest first."""
    with connection(args) as client:
        runs = list_runs(client, args.experiment, namespace=args.namespace)
        runs = (each for each in runs if args.pipeline in (None, pipeline_of(each)))
        rows = [HEADER, *(_row(client, each) for each in islice(runs, args.limit))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _row(client: Client, run: V2beta1Run) -> tuple[str, ...]:
    ended = run.state in ENDED
    workflow = read_workflow(client, run.run_id) if ended else Workflow()
    return (
        run.display_name or "",
        run.run_id[:8],
        pipeline_of(run),
        state(run, workflow),
        f"{run.created_at.astimezone():%Y-%m-%d %H:%M}",
        took(run),
        _result(client, run, workflow) if run.state == "SUCCEEDED" else "",
    )


def _result(client: Client, run: V2beta1Run, workflow: Workflow) -> str:
    """Return the lwlrap of a training or that there was none, or how much was tagged. Empty if it is not available."""
    if pipeline_of(run) == TAGGING:
        return re.split(": | to tag ", read_tagged(client, run.run_id, workflow))[0]
    if workflow.idle:
        return "nothing new"
    scores = read_scores(client, run.run_id, workflow)
    score = scores.get("all", scores.get("out_of_fold"))
    return "" if score is None else f"lwlrap {score:.4f}"
