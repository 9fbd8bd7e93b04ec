"""Run a pipeline on a schedule on a Kubeflow cluster, or list, pause, resume or delete schedules.

Examples:
    audiotagging schedule --cron "0 0 3 * * 0" --data DIR --members reference
    audiotagging schedule --every 7d --data s3://bucket/clips --secret store
    audiotagging schedule --list
    audiotagging schedule --delete --name audiotagging
"""

import argparse
import re
from typing import Any

from kfp_server_api import V2beta1RecurringRun

from audiotagging.base.errors import UserError
from commands import PROGRAM, add_pipeline
from commands.cluster import schedules
from commands.cluster.client import Client, add_connection, connection, ensure_version, experiment_id, find_experiment
from commands.cluster.settings import add_cluster_options, add_cluster_parameters, cluster_parameters, cluster_settings
from components.cluster import on_cluster

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_pipeline(parser)
    add_schedule(parser, needed="--data DATA", name=PROGRAM)
    add_cluster_parameters(parser, data_required=False)
    parser.set_defaults(if_changed=None)
    parser.add_argument(
        "--always",
        action="store_false",
        dest="if_changed",
        default=None,
        help="train also when nothing has changed since the last run that ended well",
    )
    add_cluster_options(parser)
    add_connection(parser)


def run(args: argparse.Namespace) -> int:
    """Create, change or list schedules."""
    if (args.cron or args.every) and not args.data:
        raise UserError("a schedule needs --data: a folder on the audio volume, or another source of the data")
    values = cluster_parameters(args) | {"command": args.command_line} if args.data else {}
    return schedule(args, values, mlflow=args.mlflow_experiment)


def add_schedule(parser: argparse.ArgumentParser, *, needed: str, name: str) -> None:
    """Add the options that do not depend on the pipeline.

    Args:
        parser: The parser to add them to.
        needed: The options that a schedule needs, for the usage.
        name: The default name of a schedule.
    """
    parser.usage = (
        f"%(prog)s (--cron FIELDS | --every TIME) {needed} [...]\n"
        "       %(prog)s (--pause | --resume | --delete | --list) [...]"
    )
    group = parser.add_argument_group("the schedule")
    what = group.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--cron",
        type=_cron,
        metavar="FIELDS",
        help='six fields, starting with seconds: "0 0 3 * * 0" is Sundays at 3:00 (cluster time, UTC by default)',
    )
    what.add_argument("--every", type=_seconds, metavar="TIME", help="interval between runs, such as 90m or 7d")
    what.add_argument("--pause", action="store_true", help="start no more runs until --resume")
    what.add_argument("--resume", action="store_true", help="resume after --pause")
    what.add_argument(
        "--delete", action="store_true", help="delete the schedule, or pause it if its run is in progress"
    )
    what.add_argument("--list", action="store_true", help="list the schedules")
    group.add_argument("--stop", action="store_true", help="with --delete: stop its run in progress first")
    group.add_argument("--name", metavar="NAME", default=name, help="name of the schedule (default: %(default)s)")


def schedule(args: argparse.Namespace, values: dict[str, Any], *, mlflow: str | None = None) -> int:
    """Create, change or list schedules.

    Args:
        args: The parsed options.
        values: The parameters of the pipeline, if a schedule is to be made.
        mlflow: Name of the MLflow experiment that the runs are sent to, or None.

    Returns:
        The exit code.
    """
    if args.stop and not args.delete:
        raise UserError("--stop stops the run of a deleted schedule: add --delete, or omit --stop")
    with connection(args) as client:
        if args.cron or args.every:
            experiment = experiment_id(client, args.experiment, namespace=args.namespace)
            _make(client, args, values, experiment, mlflow)
        else:
            existing = find_experiment(client, args.experiment, namespace=args.namespace)
            found = schedules.find(client, existing) if existing else []
            if args.list:
                _list(found, args.experiment)
                return 0
            experiment = _change(client, args, found)
        for waiting in schedules.delete_replaced(client, experiment):
            print(f"the previous schedule is paused; a later call deletes it after its run {waiting.run_id} has ended")
    return 0


def _list(found: list[V2beta1RecurringRun], experiment: str) -> None:
    counting = schedules.newest(found)
    for schedule in found:
        replaced = counting[schedule.display_name] is not schedule
        print(schedules.described(schedule) + (", replaced: deleted when its run has ended" if replaced else ""))
    if not found:
        print(f"no schedules in experiment {experiment!r}")


def _make(
    client: Client, args: argparse.Namespace, values: dict[str, Any], experiment: str, mlflow: str | None
) -> None:
    pipeline = on_cluster(args.pipeline, cluster_settings(args))
    pipeline_id, version_id, version = ensure_version(client, pipeline, namespace=args.namespace)
    content = {
        "version": version_id,
        "parameters": values,
        "cron": args.cron,
        "seconds": args.every,
        "mlflow": mlflow,
    }
    made, verb = schedules.make(client, experiment, args.name, pipeline=pipeline_id, content=content)
    print(
        f"{schedules.described(made)}, version {version} ({verb}): {client.page('recurringrun', made.recurring_run_id)}"
    )


def _change(client: Client, args: argparse.Namespace, found: list[V2beta1RecurringRun]) -> str:
    """Pause, resume or delete a schedule, and return the id of its experiment."""
    found = [schedule for schedule in found if schedule.display_name == args.name]
    if not found:
        raise UserError(f"no schedule is called {args.name!r}; --list shows all schedules")
    counting, experiment = found[-1].recurring_run_id, found[-1].experiment_id
    if args.delete:
        running = schedules.delete(client, found)
        if running and not args.stop:
            raise UserError(
                f"{args.name} is paused, not deleted, because its run {running[0].run_id} is in progress and would be "
                "lost; delete it after the run has ended, or now with --delete --stop"
            )
        schedules.stop(client, running)
        schedules.delete(client, schedules.find(client, experiment, args.name))
    elif args.pause:
        client.disable_recurring_run(counting)
    else:
        client.enable_recurring_run(counting)
    print(f"{args.name} {'deleted' if args.delete else 'paused' if args.pause else 'resumed'}")
    return str(experiment)


def _cron(text: str) -> str:
    """Check the number of cron fields, because Kubeflow's server takes five for six. It checks what is in them."""
    fields = text.split()
    if len(fields) != 6 and not text.startswith("@"):
        hint = f'; with seconds first, yours is "0 {text}"' if len(fields) == 5 else ""
        raise argparse.ArgumentTypeError(
            "expected six fields, second minute hour day-of-month month day-of-week, such as "
            f'"0 0 3 * * 0" for Sundays at 3:00, found {text!r}{hint}'
        )
    return text


def _seconds(text: str) -> int:
    match = re.fullmatch(r"([1-9]\d*)([smhdw])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"expected an interval such as 30m, 12h or 7d, found {text!r}")
    return int(match[1]) * SECONDS[match[2]]
