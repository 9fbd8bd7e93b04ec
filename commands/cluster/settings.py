"""The options that `compile`, `submit` and `schedule` share: the settings of the cluster and of the pipeline on it."""

import argparse
import os
import re
from typing import Any

from audiotagging.base.errors import UserError
from audiotagging.base.object_store import VARIABLES, check_url
from audiotagging.runs.notification import VARIABLE
from commands.parameters import add_notify, add_parameters, parameters
from components.cluster import AUDIO, CHAMPIONS, CHECKPOINTS, CLAIMS, TAGS, Cluster

# Argo refuses a run whose compressed state exceeds 1 MiB. With Kubeflow's defaults, a run takes about 190 KB plus 11 KB
# per row; a run of 30 rows was seen to take 519 KB.
MOST_ROWS = 75


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that become the cluster's settings."""
    default = Cluster()
    group = parser.add_argument_group("the cluster")
    group.add_argument(
        "--gpus",
        type=int,
        default=default.gpus,
        metavar="N",
        help="GPUs for each training and prediction; a member uses one, and 0 runs everything on CPUs (default: 1)",
    )
    group.add_argument(
        "--gpu-label",
        type=_label,
        default=default.gpu_label,
        metavar="KEY=VALUE",
        help="label of nodes with GPUs (default: " + "=".join(default.gpu_label) + ")",
    )
    group.add_argument(
        "--torch", choices=["cpu", "cuda"], help="build of torch (default: cuda with GPUs, otherwise cpu)"
    )
    group.add_argument(
        "--registry",
        default=os.environ.get("AUDIOTAGGING_REGISTRY", ""),
        metavar="HOST/PATH",
        help="registry of the images (default: AUDIOTAGGING_REGISTRY, or images that are on the nodes already)",
    )
    for option, folder, content in (
        ("--pvc", AUDIO, "the data"),
        ("--checkpoints-pvc", CHECKPOINTS, "checkpoints"),
        ("--champions-pvc", CHAMPIONS, "the promoted ensembles"),
        ("--tags-pvc", TAGS, "the tags of --pipeline tagging"),
    ):
        group.add_argument(
            option,
            default=CLAIMS[folder],
            metavar="NAME",
            help=f'volume claim of {content}, mounted on {folder}; "" for none (default: {CLAIMS[folder]})',
        )
    group.add_argument(
        "--small", action="store_true", help="request few resources, for the demo data on a small cluster"
    )
    group.add_argument(
        "--deadline",
        type=int,
        default=default.deadline,
        metavar="HOURS",
        help=f"stop a run after this time, even if it is waiting for a GPU (default: {default.deadline})",
    )
    group.add_argument("--queue", default="", metavar="NAME", help="Kueue queue for the stages (default: none)")
    group.add_argument(
        "--secret",
        default="",
        metavar="NAME",
        help="Kubernetes secret with the credentials for folders s3://, gs:// and abfs://; its keys are those of the "
        "variables " + ", ".join(name for names in VARIABLES.values() for name in names) + " that the store needs "
        "(default: none)",
    )
    notify = group.add_mutually_exclusive_group()
    add_notify(notify)
    notify.add_argument(
        "--notify-secret",
        default="",
        metavar="NAME",
        help=f"the same, with the URL from this Kubernetes secret, where its key is {VARIABLE}",
    )


def cluster_settings(args: argparse.Namespace) -> Cluster:
    """Convert parsed options to the settings of a cluster.

    Raises:
        UserError: If a number is out of range.
    """
    if args.gpus < 0:
        raise UserError(f"--gpus: expected a number of at least 0, found {args.gpus}")
    if args.deadline < 1:
        raise UserError(f"--deadline: expected at least 1 hour, found {args.deadline}")
    if "://" in args.registry or re.search(r"\s", args.registry):
        raise UserError(f"--registry: expected HOST/PATH, such as ghcr.io/team, found {args.registry!r}")
    return Cluster(
        gpus=args.gpus,
        gpu_label=args.gpu_label,
        torch=args.torch or ("cuda" if args.gpus else "cpu"),
        registry=args.registry,
        claims={
            AUDIO: args.pvc,
            CHECKPOINTS: args.checkpoints_pvc,
            CHAMPIONS: args.champions_pvc,
            TAGS: args.tags_pvc,
        },
        small=args.small,
        deadline=args.deadline,
        queue=args.queue,
        secret=args.secret,
        notify=args.notify,
        notify_secret=args.notify_secret,
    )


def add_cluster_parameters(parser: argparse.ArgumentParser, *, data_required: bool = True) -> None:
    """Add the options that become the pipeline's parameters, with defaults for a cluster."""
    add_parameters(parser, data_required=data_required)
    parser.set_defaults(champions=CHAMPIONS, downloads=f"{AUDIO}/downloads")
    parser.add_argument_group("MLflow").add_argument(
        "--mlflow-experiment",
        metavar="NAME",
        help="send parameters and metrics to this experiment of MLflow, if Kubeflow's plugin for it is installed",
    )


def cluster_parameters(args: argparse.Namespace) -> dict[str, Any]:
    """Convert parsed options to the pipeline's parameters, with paths as the stages see them.

    Raises:
        UserError: If an option cannot be used on a cluster.
    """
    if not args.champions_pvc and args.champions == CHAMPIONS:
        args.champions = ""
    for option, folder in (("--champions", args.champions), ("--downloads", args.downloads)):
        if folder and not folder.startswith("/"):
            raise UserError(
                f"{option}: expected a folder on a volume of the cluster, such as {CHAMPIONS}, found {folder}"
            )
    for source in (args.data, args.init):
        if "://" in source:
            check_url(source)
    if args.data.startswith("kaggle:"):
        raise UserError(
            f"--data {args.data}: the images do not have Kaggle's program; copy the data to the volume or to a store"
        )
    values = parameters(args)
    if len(values["rows"]) > MOST_ROWS:
        raise UserError(
            f"expected at most {MOST_ROWS} rows (members times folds) in a run on a cluster, because Argo stores the "
            f"state of a run in 1 MiB, found {len(values['rows'])}; submit fewer --members or --folds at a time"
        )
    for name in ("data", "init"):
        if values[name] and not re.match(r"/|\w+:", values[name]):  # neither an absolute path nor a URL
            values[name] = f"{AUDIO}/{values[name]}"
    return values | {"checkpoints": CHECKPOINTS if args.checkpoints_pvc else ""}


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, such as gpu=yes, found {text!r}")
    return key, value
