"""Stop a run on a Kubeflow cluster. Completed work is kept, and `retry` resumes the run.

Examples:
    audiotagging stop latest --host http://localhost:8080
"""

import argparse

from commands.cluster.client import add_connection, connection
from commands.cluster.runs import ENDED, add_run, add_which, find_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_run(parser)
    add_which(parser)
    add_connection(parser)


def run(args: argparse.Namespace) -> int:
    """Stop the run, unless it has ended already."""
    with connection(args) as client:
        found = find_run(client, args.run, args.experiment, namespace=args.namespace, pipeline=args.pipeline)
        if found.state in ENDED:
            print(f"{found.display_name} ({found.run_id}) has ended already")
        else:
            client.terminate_run(found.run_id)
            print(f"{found.display_name} ({found.run_id}) is stopping")
    return 0
