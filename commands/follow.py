"""Follow a run on a Kubeflow cluster until it ends.

Examples:
    audiotagging follow latest --host http://localhost:8080
    audiotagging follow 3f2a91c0
"""

import argparse

from commands.cluster.client import add_connection, connection
from commands.cluster.following import follow
from commands.cluster.runs import add_run, add_which, find_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_run(parser)
    add_which(parser)
    add_connection(parser)


def run(args: argparse.Namespace) -> int:
    """Print the past and future progress of the run. The exit code is 1 if it fails."""
    with connection(args) as client:
        found = find_run(client, args.run, args.experiment, namespace=args.namespace, pipeline=args.pipeline)
        return 0 if follow(client, found.run_id) else 1
