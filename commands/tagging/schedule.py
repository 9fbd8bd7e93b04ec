"""Tag the new sounds of a folder on a schedule on a Kubeflow cluster, or list, pause, resume or delete schedules.

Examples:
    audiotagging schedule --pipeline tagging --every 1h --data recordings --out tags
    audiotagging schedule --pipeline tagging --cron "0 30 * * * *" --data s3://bucket/new --out s3://bucket/tags
    audiotagging schedule --pipeline tagging --delete
"""

import argparse

from audiotagging.base.errors import UserError
from commands import add_pipeline
from commands.cluster.client import add_connection
from commands.cluster.settings import add_cluster_options
from commands.schedule import add_schedule, schedule
from commands.tagging.cluster import add_cluster_parameters, cluster_parameters

NAME = "audiotagging-tagging"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_pipeline(parser)
    add_schedule(parser, needed="--data DIR --out DIR", name=NAME)
    add_cluster_parameters(parser, required=False)
    add_cluster_options(parser)
    add_connection(parser)


def run(args: argparse.Namespace) -> int:
    """Create, change or list schedules."""
    new = args.cron or args.every
    if new and not (args.data and args.out):
        raise UserError("a schedule needs --data and --out: folders on volumes of the cluster, or URLs")
    return schedule(args, cluster_parameters(args) if new else {})
