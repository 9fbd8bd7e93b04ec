"""Schedules: Kubeflow's recurring runs. If several have the same name, the newest one has replaced the others.

When a recurring run is deleted, Kubernetes deletes its runs too, and Kubeflow shows one that was in progress as running
forever. A schedule that is replaced while its run is in progress is therefore paused, and a later call deletes it.
"""

import time
from collections.abc import Iterable
from typing import Any

from kfp_server_api import (
    RecurringRunMode,
    RecurringRunServiceApi,
    V2beta1CronSchedule,
    V2beta1PeriodicSchedule,
    V2beta1RecurringRun,
    V2beta1Run,
    V2beta1Trigger,
)

from audiotagging.base.errors import UserError
from commands.cluster.answers import pages, readable
from commands.cluster.client import MLFLOW, Client, mlflow_input, named, what_is_run, where
from commands.cluster.runs import ENDED

PAGE = 100
POLL = 5  # seconds between two requests
STOP_SECONDS = 600  # how long a run may take to stop
ENABLED = RecurringRunMode.ENABLE


def find(client: Client, experiment: str, name: str | None = None) -> list[V2beta1RecurringRun]:
    """Return the schedules of an experiment, or those of one name, oldest first."""
    options = {"page_size": PAGE, "sort_by": "created_at asc", "experiment_id": experiment}
    options |= {"filter": named(name)} if name else {}
    found = pages(lambda token: client.list_recurring_runs(page_token=token, **options))
    return [schedule for page in found for schedule in page.recurring_runs or []]


def newest(schedules: Iterable[V2beta1RecurringRun]) -> dict[str, V2beta1RecurringRun]:
    """Return the valid schedule of each name. The schedules must be sorted, oldest first."""
    return {schedule.display_name: schedule for schedule in schedules}


def make(
    client: Client, experiment: str, name: str, *, pipeline: str, content: dict[str, Any]
) -> tuple[V2beta1RecurringRun, str]:
    """Create a schedule, or replace it if its content differs. A paused schedule stays paused.

    Args:
        client: The connection.
        experiment: Id of the experiment.
        name: Name of the schedule.
        pipeline: Id of the pipeline.
        content: The content of the schedule, as `content_of` returns it.

    Returns:
        The schedule, and what happened: "made", "changed" or "unchanged".
    """
    before = newest(find(client, experiment, name)).get(name)
    if before is not None and content_of(before) == content:
        return before, "unchanged"
    trigger = V2beta1Trigger(
        cron_schedule=V2beta1CronSchedule(cron=content["cron"]) if content["cron"] else None,
        periodic_schedule=V2beta1PeriodicSchedule(interval_second=content["seconds"]) if content["seconds"] else None,
    )
    body = V2beta1RecurringRun(
        experiment_id=experiment,
        display_name=name,
        trigger=trigger,
        max_concurrency=1,
        no_catchup=True,
        mode=ENABLED if before is None or before.mode == ENABLED else RecurringRunMode.DISABLE,
        plugins_input=mlflow_input(content["mlflow"]),
        **what_is_run(content["parameters"], pipeline=pipeline, version=content["version"]),
    )
    api = RecurringRunServiceApi(client.pipelines.api_client)
    made = api.recurring_run_service_create_recurring_run(recurring_run=body)
    return made, "made" if before is None else "changed"


def content_of(schedule: V2beta1RecurringRun) -> dict[str, Any]:
    """Return the content of a schedule.

    It consists of the version and parameters of the pipeline, cron or seconds, and the MLflow experiment.
    """
    cron, periodic = schedule.trigger.cron_schedule, schedule.trigger.periodic_schedule
    with readable(f"schedule {schedule.display_name}"):
        return {
            "version": schedule.pipeline_version_reference.pipeline_version_id,
            "parameters": schedule.runtime_config.parameters,
            "cron": cron.cron if cron else None,
            "seconds": int(periodic.interval_second) if periodic else None,
            "mlflow": (schedule.plugins_input or {}).get(MLFLOW, {}).get("experiment_name"),
        }


def described(schedule: V2beta1RecurringRun) -> str:
    """Return the name of a schedule, when it starts runs, and whether it does."""
    content = content_of(schedule)
    when = content["cron"] or f"every {content['seconds']} s"
    return f"{schedule.display_name}: {when}, {'on' if schedule.mode == ENABLED else 'paused'}"


def delete_replaced(client: Client, experiment: str) -> list[V2beta1Run]:
    """Delete all schedules that newer ones have replaced, and return the runs that some of them must wait for."""
    found = find(client, experiment)
    kept = {schedule.recurring_run_id for schedule in newest(found).values()}
    return delete(client, [schedule for schedule in found if schedule.recurring_run_id not in kept])


def delete(client: Client, schedules: Iterable[V2beta1RecurringRun]) -> list[V2beta1Run]:
    """Delete the schedules that have no run in progress, pause the others, and return their runs."""
    running: list[V2beta1Run] = []
    for schedule in schedules:
        client.disable_recurring_run(schedule.recurring_run_id)  # do this first, so that no run starts in between
        runs = runs_in_progress(client, schedule)
        if not runs:
            client.delete_recurring_run(schedule.recurring_run_id)
        running += runs
    return running


def runs_in_progress(client: Client, schedule: V2beta1RecurringRun) -> list[V2beta1Run]:
    """Return the runs of a schedule that have not ended."""
    newest_first = client.list_runs(
        page_size=PAGE,
        sort_by="created_at desc",
        experiment_id=schedule.experiment_id,
        filter=where("recurring_run_id", schedule.recurring_run_id),
    )
    return [run for run in newest_first.runs or [] if run.state not in ENDED]


def stop(client: Client, runs: Iterable[V2beta1Run]) -> None:
    """Stop runs and wait until they have ended.

    Raises:
        UserError: If a run does not end.
    """
    end = time.monotonic() + STOP_SECONDS
    for run in runs:
        client.terminate_run(run.run_id)
        while client.get_run(run.run_id).state not in ENDED:
            if time.monotonic() > end:
                raise UserError(f"run {run.run_id} does not end; check its page, then run the same command again")
            time.sleep(POLL)
