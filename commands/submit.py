"""Run the pipeline on a Kubeflow cluster.

Examples:
    audiotagging submit --host http://localhost:8080 --data DIR --wait
    audiotagging submit --data zenodo:3612637 --registry ghcr.io/team
"""

import argparse
from datetime import UTC, datetime
from typing import Any

from audiotagging.base.errors import UserError
from commands import add_pipeline
from commands.cluster.checks.quick import check_before_submission
from commands.cluster.checks.site import site_of
from commands.cluster.client import add_connection, connection, create_run, ensure_version, experiment_id
from commands.cluster.following import follow
from commands.cluster.settings import add_cluster_options, add_cluster_parameters, cluster_parameters, cluster_settings
from components.cluster import on_cluster


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_pipeline(parser)
    add_cluster_parameters(parser)
    add_submission(parser)


def run(args: argparse.Namespace) -> int:
    """Upload the pipeline if needed, start a run, print its URL, and follow it with --wait."""
    return submit(args, cluster_parameters(args) | {"command": args.command_line}, mlflow=args.mlflow_experiment)


def add_submission(parser: argparse.ArgumentParser) -> None:
    """Add the options that do not depend on the pipeline."""
    run = parser.add_argument_group("the run")
    run.add_argument("--wait", action="store_true", help="follow the run until it ends (exit code 1 if it fails)")
    run.add_argument(
        "--tries",
        type=int,
        default=1,
        metavar="N",
        help="with --wait: retry failures that you cannot fix, up to N attempts in all (default: 1)",
    )
    run.add_argument("--name", metavar="NAME", help="name of the run (default: the pipeline and the time)")
    add_cluster_options(parser)
    add_connection(parser)


def submit(args: argparse.Namespace, values: dict[str, Any], *, mlflow: str | None = None) -> int:
    """Submit a pipeline.

    Args:
        args: The parsed options.
        values: The parameters of the pipeline.
        mlflow: Name of the MLflow experiment that the run is sent to, or None.

    Returns:
        The exit code.
    """
    if args.tries < 1 or (args.tries > 1 and not args.wait):
        raise UserError(f"--tries: expected a number of at least 1, and --wait if it is above 1, found {args.tries}")
    cluster = cluster_settings(args)
    pipeline = on_cluster(args.pipeline, cluster)
    name = args.name or f"{pipeline.name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    with connection(args) as client:
        check_before_submission(site_of(args, client, pipeline, cluster))
        pipeline_id, version_id, version = ensure_version(client, pipeline, namespace=args.namespace)
        experiment = experiment_id(client, args.experiment, namespace=args.namespace)
        run_id = create_run(
            client,
            name,
            values,
            experiment=experiment,
            pipeline=pipeline_id,
            version=version_id,
            mlflow=mlflow,
        )
        print(f"run {run_id} of version {version}: {client.page('runs', run_id)}", flush=True)
        return 0 if not args.wait or follow(client, run_id, tries=args.tries) else 1
