"""Write the pipeline as a file that a Kubeflow cluster takes."""

import argparse
from pathlib import Path

from kfp import compiler

from audiotagging.errors import UserError
from commands.cluster.settings import add_cluster_options, cluster_settings
from components.cluster import on_cluster


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="a .yaml file to write")
    add_cluster_options(parser)


def run(args: argparse.Namespace) -> int:
    """Compile the pipeline."""
    if args.output.suffix not in (".yaml", ".yml"):
        raise UserError(f"{args.output}: expected a name that ends in .yaml")
    if not args.output.parent.is_dir():
        raise UserError(f"{args.output.parent} is not a folder; make it first")
    compiler.Compiler().compile(on_cluster(args.pipeline, cluster_settings(args)), str(args.output))
    print(args.output)
    return 0
