"""Look for what would make a run of the pipeline `tagging` fail, before one is submitted.

Examples:
    audiotagging doctor --pipeline tagging --data recordings --out tags
    audiotagging doctor --pipeline tagging --data s3://bucket/new --out tags --probe
"""

import argparse

from commands import add_pipeline
from commands.doctor import add_examination, doctor
from commands.tagging.cluster import add_cluster_parameters, cluster_parameters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_pipeline(parser)
    add_cluster_parameters(parser, required=False)
    add_examination(parser)


def run(args: argparse.Namespace) -> int:
    """Print what was found. The exit code is 2 if something would make a run fail."""
    if args.data and args.out:
        cluster_parameters(args)
    return doctor(args)
