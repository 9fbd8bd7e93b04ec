"""Compile a pipeline to a file for a Kubeflow cluster.

Examples:
    audiotagging compile --output pipeline.yaml --registry ghcr.io/team
    audiotagging compile --output pipeline.yaml --gpus 0 --small
    audiotagging compile --output tagging.yaml --pipeline tagging
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from kfp import compiler

from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_file
from commands import add_pipeline
from commands.cluster.settings import add_cluster_options, cluster_settings
from commands.folders import output_file
from components.cluster import on_cluster


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_pipeline(parser)
    parser.add_argument(
        "-o", "--output", type=output_file, required=True, metavar="FILE", help="the .yaml file to write"
    )
    add_cluster_options(parser)


def run(args: argparse.Namespace) -> int:
    """Compile the pipeline."""
    if args.output.suffix not in (".yaml", ".yml"):
        raise UserError(f"{args.output}: expected a file name that ends with .yaml; name another")
    pipeline = on_cluster(args.pipeline, cluster_settings(args))
    with tempfile.TemporaryDirectory() as folder, atomic_file(args.output) as partial:
        package = Path(folder) / "pipeline.yaml"  # kfp writes only to such names
        compiler.Compiler().compile(pipeline, str(package))
        shutil.copyfile(package, partial)
    print(args.output)
    return 0
