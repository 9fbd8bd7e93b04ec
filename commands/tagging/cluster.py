"""The parameters of the pipeline `tagging` on a cluster."""

import argparse
from typing import Any

from audiotagging.base.errors import UserError
from audiotagging.base.object_store import check_url
from commands import check_counts
from commands.tagging.parameters import SHARDS, add_parameters, parameters
from components.cluster import AUDIO, CHAMPIONS, TAGS


def add_cluster_parameters(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the options that become the pipeline's parameters, with defaults for a cluster.

    Args:
        parser: The parser to add them to.
        required: Whether the folders are required.
    """
    add_parameters(parser, required=required, models=CHAMPIONS)
    parser.add_argument_group("rows").add_argument(
        "--shards",
        type=int,
        default=SHARDS,
        metavar="N",
        help="the largest number of shards that are tagged at once, each on GPUs of its own (default: %(default)s)",
    )


def cluster_parameters(args: argparse.Namespace) -> dict[str, Any]:
    """Convert parsed options to the pipeline's parameters, with paths as the stages see them.

    Raises:
        UserError: If an option cannot be used on a cluster.
    """
    check_counts(args, "shards")
    values = parameters(args, shards=args.shards)
    for name, volume, claim in (("data", AUDIO, args.pvc), ("out", TAGS, args.tags_pvc)):
        if "://" in values[name]:
            check_url(values[name])
        elif not claim and not values[name].startswith("/"):
            raise UserError(f"--{name}: expected a URL, because there is no volume for it, found {values[name]}")
        elif not values[name].startswith("/"):
            values[name] = f"{volume}/{values[name]}"
    if not args.champions_pvc or not values["models"].startswith("/"):
        raise UserError(f"--models: expected a folder on a volume, such as {CHAMPIONS}, found {values['models']}")
    return values
