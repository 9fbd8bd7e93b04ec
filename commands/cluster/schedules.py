"""Schedules: Kubeflow's recurring runs. Of several with one name the newest counts, and the others are about to go.

Kubernetes removes the runs of a recurring run with it, also one in progress, which Kubeflow then shows as running
forever. So one that was replaced while its run is in progress is paused, and deleted by a later call.
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

from audiotagging.errors import UserError
from commands.cluster.client import MLFLOW, Client, mlflow_input, named, what_is_run, where
from commands.cluster.following import ENDED

PAGE = 100
POLL = 5  # seconds between two looks
STOP_SECONDS = 600  # until a run that was told to stop has ended
ENABLED = RecurringRunMode.ENABLE


def find(client: Client, experiment: str, name: str | None = None) -> list[V2beta1RecurringRun]:
    """Return the schedules of an experiment, all or those of a name, the oldest first."""
    found: list[V2beta1RecurringRun] = []
    token: str | None = ""
    while token is not None:
        page = client.list_recurring_runs(
            page_token=token,
            page_size=PAGE,
            sort_by="created_at asc",
            experiment_id=experiment,
            filter=named(name) if name else None,
        )
        found += page.recurring_runs or []
        token = page.next_page_token or None
    return found


def newest(schedules: Iterable[V2beta1RecurringRun]) -> dict[str, V2beta1RecurringRun]:
    """Return the schedule that counts by name."""
    return {schedule.display_name: schedule for schedule in schedules}


def make(
    client: Client, experiment: str, name: str, *, pipeline: str, content: dict[str, Any]
) -> tuple[V2beta1RecurringRun, str]:
    """Make a schedule as it should be. One that is so already stays; what was paused stays paused.

    Args:
        client: The connection.
        experiment: Id of the experiment.
        name: Name of the schedule.
        pipeline: Id of the pipeline.
        content: As `content_of` returns it.

    Returns:
        The schedule, and what became of it: "made", "changed" or "unchanged".
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
    """Return what makes a schedule what it is.

    That is version and parameters of the pipeline, cron or seconds, and the experiment of MLflow.
    """
    cron, periodic = schedule.trigger.cron_schedule, schedule.trigger.periodic_schedule
    return {
        "version": schedule.pipeline_version_reference.pipeline_version_id,
        "parameters": schedule.runtime_config.parameters,
        "cron": cron.cron if cron else None,
        "seconds": int(periodic.interval_second) if periodic else None,
        "mlflow": (schedule.plugins_input or {}).get(MLFLOW, {}).get("experiment_name"),
    }


def delete_replaced(client: Client, experiment: str) -> list[V2beta1Run]:
    """Delete the schedules of all names that newer ones have replaced; return the runs for which some must wait."""
    found = find(client, experiment)
    kept = {schedule.recurring_run_id for schedule in newest(found).values()}
    return delete(client, [schedule for schedule in found if schedule.recurring_run_id not in kept])


def delete(client: Client, schedules: Iterable[V2beta1RecurringRun]) -> list[V2beta1Run]:
    """Delete those schedules that have no run in progress, pause the others, and return these runs."""
    running: list[V2beta1Run] = []
    for schedule in schedules:
        client.disable_recurring_run(schedule.recurring_run_id)  # first, so that no run starts meanwhile
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
        UserError: If one does not end.
    """
    end = time.monotonic() + STOP_SECONDS
    for run in runs:
        client.terminate_run(run.run_id)
        while client.get_run(run.run_id).state not in ENDED:
            if time.monotonic() > end:
                raise UserError(f"run {run.run_id} does not end; look at its page, then give the same command again")
            time.sleep(POLL)
