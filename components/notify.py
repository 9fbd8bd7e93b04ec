"""The stage `notify`, which runs on a cluster when a run has ended, however it did."""

from kfp.dsl import PipelineTaskFinalStatus

from components.stage import stage


@stage(image="results")
def notify(run: str, champions: str, status: PipelineTaskFinalStatus) -> None:
    """Post how the run ended to the URL in the environment. That never makes a run fail.

    Args:
        run: Id of the run.
        champions: Folder of the champion and other versions, or an empty string.
        status: How the stages of the run ended, as far as Kubeflow's metadata know.
    """
    import logging
    import os
    from pathlib import Path

    from audiotagging.artifacts.champion import read_events
    from audiotagging.errors import UserError
    from audiotagging.results.final_state import final_state
    from audiotagging.results.notification import VARIABLE, describe_run, post

    state = final_state(run, task=status.pipeline_task_name) or status.state
    try:
        events = read_events(Path(champions)) if champions else []
    except (UserError, OSError) as error:
        logging.getLogger(__name__).warning("the history of the champions is not told: %s", error)
        events = []
    own = [event for event in events if event["action"] == "candidate" and event.get("run") == run]
    failed = "a stage failed" if state == "FAILED" else None
    notice = describe_run(run, own[-1] if own else None, failed=failed, state=state)
    post(os.environ.get(VARIABLE, "").strip(), notice)
