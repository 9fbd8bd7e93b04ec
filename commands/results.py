"""Download the results of a run on a Kubeflow cluster, in the layout of `run`, for tag, compare and evaluate.

Examples:
    audiotagging results latest --out out/cluster --host http://localhost:8080
    audiotagging results 3f2a91c0 --out out/cluster --no-spectrograms
"""

import argparse
from pathlib import Path

from audiotagging.artifacts.predictions import read_predictions
from audiotagging.base.errors import UserError
from commands import TRAINING
from commands.cluster.artifacts import fetch_from_page, fetch_from_store
from commands.cluster.client import add_connection, connection
from commands.cluster.outputs import find_outputs
from commands.cluster.runs import ENDED, add_run, find_run, pipeline_of
from commands.mlflow import send_results
from commands.outputs import new_out, print_results, working_on
from commands.parameters import add_mlflow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_run(parser)
    results = parser.add_argument_group("results")
    results.add_argument(
        "--out", type=Path, required=True, metavar="OUT", help="folder for the results; it appears when it is complete"
    )
    results.add_argument("--force", action="store_true", help="replace existing results in OUT")
    results.add_argument(
        "--no-spectrograms",
        action="store_true",
        help="omit the spectrograms, which are large (3 GB for FSDKaggle2019) and needed by compare and evaluate",
    )
    results.add_argument(
        "--s3-endpoint",
        default="",
        metavar="URL",
        help="download directly from the object store at this URL, such as http://localhost:9000, with "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, instead of through Kubeflow's web page; gs:// is always "
        "downloaded directly",
    )
    add_mlflow(results)
    add_connection(parser)


def run(args: argparse.Namespace) -> int:
    """Download the outputs of a run, and print a table of scores and the paths of the results."""
    out: Path = args.out.resolve()
    with working_on(out, force=args.force) as work, connection(args) as client:
        found = find_run(client, args.run, args.experiment, namespace=args.namespace, pipeline=TRAINING)
        if pipeline_of(found) != TRAINING:
            raise UserError(
                f"run {found.run_id}: expected a run that trained, found one that tagged; its tags are in the folder "
                "that its --out names"
            )
        if found.state in ENDED - {"SUCCEEDED"}:
            raise UserError(
                f"run {found.run_id}: expected a run that has succeeded, found one that has {found.state.lower()}; "
                f"`audiotagging retry {found.run_id} --wait` runs what is missing, or name another run"
            )
        uris = find_outputs(client, found.run_id)
        if args.no_spectrograms:
            del uris["spectrograms"]
        with new_out(out, work=work) as partial:
            if args.s3_endpoint or uris["report.html"].startswith("gs://"):  # the page cannot list its folders
                fetch_from_store(uris, partial, endpoint=args.s3_endpoint)
            else:
                fetch_from_page(client, uris, partial, namespace=args.namespace)
            for table in (partial / "predictions").iterdir():  # to check that the tables are complete
                read_predictions(table)
    if args.mlflow:
        send_results(out, args.mlflow)
    print_results(args.out)
    return 0
