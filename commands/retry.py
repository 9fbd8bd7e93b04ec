"""Retry a run on a Kubeflow cluster that failed or was stopped. Completed stages are kept, and trainings resume.

Examples:
    audiotagging retry latest --wait
"""

import argparse

from audiotagging.base.errors import UserError
from commands.cluster.client import add_connection, connection
from commands.cluster.following import follow
from commands.cluster.runs import ENDED, add_run, add_which, find_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_run(parser)
    add_which(parser)
    parser.add_argument("--wait", action="store_true", help="follow the run until it ends (exit code 1 if it fails)")
    add_connection(parser)


def run(args: argparse.Namespace) -> int:
    """Run the failed stages again, and follow the run with --wait."""
    with connection(args) as client:
        found = find_run(client, args.run, args.experiment, namespace=args.namespace, pipeline=args.pipeline)
        if found.state not in ENDED or found.state == "SUCCEEDED":
            raise UserError(f"expected a run that failed or was stopped, found {found.display_name} {found.state}")
        client.runs.run_service_retry_run(found.run_id)
        print(f"{found.display_name} ({found.run_id}) is retrying: {client.page('runs', found.run_id)}", flush=True)
        return 0 if not args.wait or follow(client, found.run_id) else 1
