"""The stage `notify`, which runs on a cluster when a run has ended, however it did."""

from kfp.dsl import PipelineTaskFinalStatus

from components.stage import stage


@stage(image="results")
def notify(run: str, champions: str, rows: list, status: PipelineTaskFinalStatus) -> None:
    """Post how the run ended to the URL in the environment. That never makes a run fail.

    If the run failed, this stage fails too when it has told that: Kubeflow's retry of a run keeps what succeeded, and
    then nobody would be told how the retry ends.

    Args:
        run: Id of the run.
        champions: Folder of the champion and other versions, or an empty string.
        rows: The members and folds of the run. Empty if it tags.
        status: How the stages of the run ended, as far as Kubeflow's metadata know.
    """
    import logging
    import os
    from pathlib import Path

    from audiotagging.artifacts.champions_folder import read_events
    from audiotagging.base.errors import UserError
    from audiotagging.runs.final_state import failed_before, failures, final_state, was_idle
    from audiotagging.runs.notification import VARIABLE, describe_failures, describe_run, post

    logger = logging.getLogger(__name__)
    state = final_state(run, task=status.pipeline_task_name) or status.state
    try:
        events = read_events(Path(champions)) if champions else []
    except (UserError, OSError) as error:
        logger.warning("the history of the champions is not told: %s", error)
        events = []
    own = [event for event in events if event["action"] == "candidate" and event.get("run") == run]
    failed = describe_failures(run, failures(run, rows)) if state == "FAILED" else None
    recovered = not failed and failed_before(run)
    notice = describe_run(
        run, own[-1] if own else None, news=not was_idle(run), failed=failed, state=state, recovered=recovered
    )
    post(os.environ.get(VARIABLE, "").strip(), notice)
    if failed:
        logger.info("the run failed; this stage fails too, so that a retry of the run tells how it ends")
        raise SystemExit(1)
