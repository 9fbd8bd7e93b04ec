"""List the newest runs on a Kubeflow cluster.

Examples:
    audiotagging runs --host http://localhost:8080
    audiotagging runs --limit 50 --experiment nightly
"""

import argparse
from itertools import islice

from kfp_server_api import V2beta1Run

from audiotagging.results.argo import Workflow
from commands.cluster.client import Client, add_connection, connection
from commands.cluster.runs import ENDED, list_runs, read_scores, state, took
from commands.cluster.workflow import read_workflow

HEADER = ("name", "id", "state", "started", "duration", "lwlrap")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--limit", type=int, default=10, metavar="N", help="number of runs to list (default: 10)")
    add_connection(parser)


def run(args: argparse.Namespace) -> int:
    """Print one line per run, newest first."""
    with connection(args) as client:
        runs = list_runs(client, args.experiment, namespace=args.namespace)
        rows = [HEADER, *(_row(client, each) for each in islice(runs, args.limit))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _row(client: Client, run: V2beta1Run) -> tuple[str, ...]:
    ended = run.state in ENDED
    workflow = read_workflow(client, run.run_id) if ended else Workflow()
    scores = read_scores(client, run.run_id, workflow) if run.state == "SUCCEEDED" else {}
    score = scores.get("all", scores.get("out_of_fold"))
    return (
        run.display_name or "",
        run.run_id[:8],
        state(run, workflow),
        f"{run.created_at.astimezone():%Y-%m-%d %H:%M}",
        took(run),
        "" if score is None else f"{score:.4f}",
    )
