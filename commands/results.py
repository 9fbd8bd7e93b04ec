"""Bring the results of a run on a Kubeflow cluster here, as `run` leaves them: for tag, compare and evaluate."""

import argparse
from pathlib import Path

from audiotagging.artifacts.prediction_table import read_predictions
from commands.cluster.artifacts import fetch_from_page, fetch_from_store
from commands.cluster.client import add_connection, connection
from commands.cluster.outputs import find_outputs
from commands.cluster.runs import add_run, find_run
from commands.outputs import check_out, new_out, print_results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_run(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results; made when all is there")
    parser.add_argument("--force", action="store_true", help="replace the results that OUT holds already")
    parser.add_argument(
        "--no-spectrograms",
        action="store_true",
        help="leave the spectrograms out, which are large (3 GB for FSDKaggle2019); compare and evaluate need them",
    )
    parser.add_argument(
        "--s3-endpoint",
        default="",
        metavar="URL",
        help="fetch from the store itself, as http://localhost:9000, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
        "and not through Kubeflow's page; gs:// is always fetched so",
    )
    add_connection(parser)


def run(args: argparse.Namespace) -> int:
    """Fetch the run's outputs; print a table of scores and where things are."""
    out: Path = args.out.resolve()
    check_out(out, force=args.force)
    with connection(args) as client:
        found = find_run(client, args.run, args.experiment, namespace=args.namespace)
        uris = find_outputs(client, found.run_id)
        if args.no_spectrograms:
            del uris["spectrograms"]
        with new_out(out) as part:
            if args.s3_endpoint or uris["report.html"].startswith("gs://"):  # of which the page has no folders
                fetch_from_store(uris, part, endpoint=args.s3_endpoint)
            else:
                fetch_from_page(client, uris, part, namespace=args.namespace)
            for table in (part / "predictions").iterdir():  # of which it shows whether they are whole
                read_predictions(table)
    print_results(args.out)
    return 0
