"""Run the pipeline again and again on a Kubeflow cluster, or list, pause, resume or delete such a schedule."""

import argparse
import re
from typing import Any

from kfp_server_api import RecurringRunMode, V2beta1RecurringRun

from audiotagging.errors import UserError
from commands.cluster.client import Client, add_connection, connection, ensure_version, experiment_id, named
from commands.cluster.settings import add_cluster_options, add_cluster_parameters, cluster_parameters, cluster_settings
from components.cluster import on_cluster

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
PAGE = 100
ENABLED = RecurringRunMode.ENABLE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--cron",
        type=_cron,
        metavar="FIELDS",
        help='six fields, seconds first: "0 0 3 * * 0" is Sundays at three (the cluster\'s time, UTC by default)',
    )
    what.add_argument("--every", type=_seconds, metavar="TIME", help="time from one run to the next, as 90m or 7d")
    what.add_argument("--pause", action="store_true", help="start no more runs until --resume")
    what.add_argument("--resume", action="store_true", help="go on after --pause")
    what.add_argument("--delete", action="store_true", help="remove the schedule; its runs stay")
    what.add_argument("--list", action="store_true", help="list the schedules")
    parser.add_argument("--name", default="audiotagging", help="name of the schedule (default: audiotagging)")
    add_cluster_parameters(parser, data_required=False)
    add_cluster_options(parser)
    add_connection(parser)


def run(args: argparse.Namespace) -> int:
    """Make, change or list schedules."""
    if (args.cron or args.every) and not args.data:
        raise UserError("a schedule needs --data: the folder on the audio volume, or where to get the data from")
    values = cluster_parameters(args) if args.data else {}
    with connection(args) as client:
        experiment = experiment_id(client, args.experiment, namespace=args.namespace)
        if args.list:
            for schedule in _find(client, experiment):
                print(_describe(schedule))
        elif args.cron or args.every:
            _make(client, args, values, experiment)
        else:
            _change(client, args, experiment)
    return 0


def _make(client: Client, args: argparse.Namespace, values: dict[str, Any], experiment: str) -> None:
    """Make the schedule as it should be; one that is so already stays, and others of its name go when it is made.

    What was paused stays paused.
    """
    pipeline = on_cluster(args.pipeline, cluster_settings(args))
    pipeline_id, version_id, version = ensure_version(client, pipeline, namespace=args.namespace)
    existing = _find(client, experiment, args.name)
    wanted = {"version": version_id, "parameters": values, "cron": args.cron, "seconds": args.every}
    kept = next((schedule for schedule in existing if _content(schedule) == wanted), None)
    made = kept or client.create_recurring_run(
        experiment,
        args.name,
        cron_expression=args.cron,
        interval_second=args.every,
        max_concurrency=1,
        no_catchup=True,
        params=values,
        pipeline_id=pipeline_id,
        version_id=version_id,
        enabled=not existing or any(schedule.mode == ENABLED for schedule in existing),
    )
    for schedule in existing:
        if schedule is not kept:
            client.delete_recurring_run(schedule.recurring_run_id)
    verb = "unchanged" if kept else "changed" if existing else "made"
    print(f"{_describe(made)}, version {version} ({verb}): {client.page('recurringrun', made.recurring_run_id)}")


def _change(client: Client, args: argparse.Namespace, experiment: str) -> None:
    existing = _find(client, experiment, args.name)
    if not existing:
        raise UserError(f"no schedule is called {args.name!r}; --list shows those that there are")
    for schedule in existing:
        if args.delete:
            client.delete_recurring_run(schedule.recurring_run_id)
        elif args.pause:
            client.disable_recurring_run(schedule.recurring_run_id)
        else:
            client.enable_recurring_run(schedule.recurring_run_id)
    print(f"{args.name} {'deleted' if args.delete else 'paused' if args.pause else 'resumed'}")


def _find(client: Client, experiment: str, name: str | None = None) -> list[V2beta1RecurringRun]:
    """Return the schedules of an experiment, all or those of a name."""
    found: list[V2beta1RecurringRun] = []
    token = ""
    while True:
        page = client.list_recurring_runs(
            page_token=token, page_size=PAGE, experiment_id=experiment, filter=named(name) if name else None
        )
        found += page.recurring_runs or []
        token = page.next_page_token or ""
        if not token:
            return found


def _content(schedule: V2beta1RecurringRun) -> dict[str, Any]:
    """Return what makes a schedule what it is."""
    cron, periodic = schedule.trigger.cron_schedule, schedule.trigger.periodic_schedule
    return {
        "version": schedule.pipeline_version_reference.pipeline_version_id,
        "parameters": schedule.runtime_config.parameters,
        "cron": cron.cron if cron else None,
        "seconds": int(periodic.interval_second) if periodic else None,
    }


def _describe(schedule: V2beta1RecurringRun) -> str:
    content = _content(schedule)
    when = content["cron"] or f"every {content['seconds']} s"
    return f"{schedule.display_name}: {when}, {'on' if schedule.mode == ENABLED else 'paused'}"


def _cron(text: str) -> str:
    fields = text.split()
    if len(fields) == 6 or text.startswith("@"):
        return text
    hint = f'; with seconds first, yours is "0 {text}"' if len(fields) == 5 else ""
    raise argparse.ArgumentTypeError(
        "expected six fields, second minute hour day-of-month month day-of-week, as in "
        f'"0 0 3 * * 0" for Sundays at three, and found {len(fields)} in {text!r}{hint}'
    )


def _seconds(text: str) -> int:
    match = re.fullmatch(r"([1-9]\d*)([smhdw])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"expected a time as 30m, 12h or 7d and found {text!r}")
    return int(match[1]) * SECONDS[match[2]]
