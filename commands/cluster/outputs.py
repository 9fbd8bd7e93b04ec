"""Where the outputs of a run on a cluster are: their URIs stand in what Kubeflow's drivers gave to the stages."""

from typing import Any

from audiotagging.errors import UserError
from commands.cluster.client import Client
from commands.cluster.workflow import Stage, read_workflow
from commands.outputs import places


def find_outputs(client: Client, run_id: str) -> dict[str, str]:
    """Return the URIs of a run's outputs by where they go in OUT.

    `evaluate` runs in every run and was given all but the predictions, with the member and fold of every model.
    `ensemble` was given these, in this run or in the earlier one whose average this run took from the cache.

    Raises:
        UserError: If the run has not come so far, or the earlier run is gone.
    """
    stages = {stage.name: stage for stage in read_workflow(client, run_id).stages if stage.row is None}
    evaluate = stages.get("evaluate")
    if not evaluate or evaluate.state != "done":
        state = evaluate.state if evaluate else "not begun"
        raise UserError(f"run {run_id}: expected one whose stage evaluate is done, found it {state}")
    (averaged,) = _given(evaluate, "averaged")
    ensemble = stages["ensemble"]
    if ensemble.state == "cached":
        origin = averaged["uri"].split("/")[-4]  # ROOT/PIPELINE/RUN/STAGE/EXECUTION/NAME
        earlier = {stage.name: stage for stage in read_workflow(client, origin).stages}
        if "ensemble" not in earlier:
            raise UserError(f"run {run_id} took its average from the cache; run {origin}, which made it, is gone")
        ensemble = earlier["ensemble"]
    (spectrograms,), (selection,) = _given(evaluate, "spectrograms"), _given(evaluate, "selection")
    return places(
        spectrograms=spectrograms["uri"],
        selection=selection["uri"],
        models=_by_row(_given(evaluate, "models")),
        predictions=_by_row(_given(ensemble, "predictions")),
        averaged=averaged["uri"],
        scores=evaluate.outputs["scores"][0],
        report=evaluate.outputs["report"][0],
    )


def _given(stage: Stage, name: str) -> list[dict[str, Any]]:
    """Return the artifacts that a stage was given under a name, each with its `uri` and `metadata`."""
    return stage.executor_input["inputs"]["artifacts"][name]["artifacts"]


def _by_row(artifacts: list[dict[str, Any]]) -> list[tuple[str, int, str]]:
    return [(each["metadata"]["member"], int(each["metadata"]["fold"]), each["uri"]) for each in artifacts]
