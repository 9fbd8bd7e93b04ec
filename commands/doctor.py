"""Look for what would make a run on a Kubeflow cluster fail, before one is submitted. Takes the options of `submit`.

Examples:
    audiotagging doctor --host http://localhost:8080 --registry ghcr.io/team
    audiotagging doctor --data s3://bucket/clips --secret store --probe
"""

import argparse
import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

from audiotagging.base.errors import UserError
from audiotagging.base.gate import CODES
from commands import add_pipeline
from commands.cluster.checks.finding import OK, UNSEEN, WARNING, WRONG, Finding, table
from commands.cluster.checks.images import check_images
from commands.cluster.checks.namespaced import check_account
from commands.cluster.checks.nodes import check_gpus, check_sharing, check_sizes
from commands.cluster.checks.probe import check_by_pod
from commands.cluster.checks.quick import compare, look_quickly
from commands.cluster.checks.servers import (
    check_access,
    check_clock,
    check_page,
    check_schedules,
    check_server,
)
from commands.cluster.checks.site import Check, look, site_of
from commands.cluster.client import add_connection, connection
from commands.cluster.settings import add_cluster_options, add_cluster_parameters, cluster_parameters, cluster_settings
from components.cluster import on_cluster

SERVERS: tuple[tuple[str, Check], ...] = (
    ("Kubeflow's API", check_server),
    ("Kubeflow's page", check_page),
    ("your role in Kubeflow", check_access),
    ("the clock", check_clock),
    ("schedules", check_schedules),
)
REST: tuple[tuple[str, Check], ...] = (
    ("the stages' account", check_account),
    ("nodes", check_sizes),
    ("sharing of volumes", check_sharing),
    ("GPUs", check_gpus),
    ("images", check_images),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_pipeline(parser)
    add_cluster_parameters(parser, data_required=False)
    add_examination(parser)


def run(args: argparse.Namespace) -> int:
    """Print what was found. The exit code is 2 if something would make a run fail."""
    if args.data:
        cluster_parameters(args)
    return doctor(args)


def add_examination(parser: argparse.ArgumentParser) -> None:
    """Add the options that do not depend on the pipeline."""
    parser.add_argument_group("doctor").add_argument(
        "--probe",
        action="store_true",
        help="also start a pod like those of the stages, for a few seconds: does it start, how much space is free on "
        "the volumes, and are the data in the object store?",
    )
    add_cluster_options(parser)
    add_connection(parser)


def doctor(args: argparse.Namespace) -> int:
    """Examine a cluster for a pipeline, and print a table.

    Args:
        args: The parsed options.

    Returns:
        The exit code.
    """
    cluster = cluster_settings(args)
    pipeline = on_cluster(args.pipeline, cluster)
    findings = list(_findings(args, pipeline, cluster))
    print(table(findings, width=shutil.get_terminal_size((120, 24)).columns))
    counts = {state: sum(finding.state == state for finding in findings) for state in (WRONG, WARNING, UNSEEN, OK)}
    print("\n" + ", ".join(f"{count} {state}" for state, count in counts.items() if count))
    return CODES["error"] if counts[WRONG] else 0


def _findings(args: argparse.Namespace, pipeline: Any, cluster: Any) -> Iterator[Finding]:
    with contextlib.ExitStack() as stack:
        try:
            client = stack.enter_context(connection(args))
        except UserError as error:
            client = None
            said, _, remedy = str(error).rpartition("; ")
            yield Finding("Kubeflow's API", WRONG, said or remedy, remedy if said else "")
        site = site_of(args, client, pipeline, cluster)
        finding, site = compare(site)
        yield from look(site, SERVERS if client else SERVERS[1:])
        yield finding
        of_pods = [*look_quickly(site), *look(site, REST)]
        yield from of_pods
        if not args.probe:
            said = "the space on the volumes, and whether stores open"
            yield Finding("probe", UNSEEN, said, "--probe starts a pod for a few seconds, which sees them")
        elif any(finding.state == WRONG for finding in of_pods):
            yield Finding("probe", UNSEEN, "no pod was started, because it would wait for what is wrong above")
        else:
            yield from look(site, [("probe", check_by_pod)])
