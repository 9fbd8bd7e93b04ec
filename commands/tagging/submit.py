"""Tag the new sounds of a folder on a Kubeflow cluster.

Examples:
    audiotagging submit --pipeline tagging --host http://localhost:8080 --data recordings --out tags --wait
    audiotagging submit --pipeline tagging --data s3://bucket/recordings --out s3://bucket/tags --secret store
"""

import argparse

from commands import add_pipeline
from commands.submit import add_submission, submit
from commands.tagging.cluster import add_cluster_parameters, cluster_parameters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_pipeline(parser)
    add_cluster_parameters(parser)
    add_submission(parser)


def run(args: argparse.Namespace) -> int:
    """Upload the pipeline if needed, start a run, print its URL, and follow it with --wait."""
    return submit(args, cluster_parameters(args))
