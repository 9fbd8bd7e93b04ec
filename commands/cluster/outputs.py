"""Finds the outputs of a run on a cluster: their URIs are in the inputs that Kubeflow's drivers gave to the stages."""

from typing import Any

from audiotagging.base.errors import UserError
from audiotagging.members import ID
from audiotagging.runs.run_stages import Stage
from commands.cluster.answers import readable
from commands.cluster.client import Client
from commands.cluster.workflow import read_workflow
from commands.outputs import layout


def find_outputs(client: Client, run_id: str) -> dict[str, str]:
    """Return the URIs of the outputs of a run by their paths in OUT.

    The stage `evaluate`, which is never cached, got all outputs but the predictions, with the member and fold of every
    model. The stage `ensemble` got the predictions, in this run or in the earlier run whose average was in the cache.

    Raises:
        UserError: If the run is not complete, or if the earlier run does not exist any more.
    """
    workflow = read_workflow(client, run_id)
    stages = {stage.name: stage for stage in workflow.stages if stage.row is None}
    if workflow.idle:
        raise UserError(
            f"run {run_id} found nothing new, so it has no results of its own; `audiotagging runs` lists earlier ones"
        )
    evaluate = stages.get("evaluate")
    if not evaluate or evaluate.state != "done":
        state = evaluate.state if evaluate else "not started"
        raise UserError(f"run {run_id}: expected the stage evaluate to be done, found it {state}; wait for it")
    with readable(f"the outputs of run {run_id}"):
        (averaged,) = _given(evaluate, "averaged")
        ensemble = stages["ensemble"]
        if ensemble.state == "cached":
            origin = averaged["uri"].split("/")[-4]  # ROOT/PIPELINE/RUN/STAGE/EXECUTION/NAME
            earlier = {stage.name: stage for stage in read_workflow(client, origin).stages}
            if "ensemble" not in earlier:
                raise UserError(
                    f"run {run_id} took its average from the cache, and run {origin}, which made it, is gone"
                )
            ensemble = earlier["ensemble"]
        (spectrograms,), (selection,) = _given(evaluate, "spectrograms"), _given(evaluate, "selection")
        models = _by_row(_given(evaluate, "models"))
        has_folds = any(fold >= 0 for _, fold, _ in models)  # without folds, the stage writes nothing to its folder
        return layout(
            spectrograms=spectrograms["uri"],
            selection=selection["uri"],
            models=models,
            predictions=_by_row(_given(ensemble, "predictions")),
            averaged=averaged["uri"],
            scores=evaluate.outputs["scores"][0],
            report=evaluate.outputs["report"][0],
            audit=evaluate.outputs["audit"][0] if has_folds and "audit" in evaluate.outputs else None,
        )


def _given(stage: Stage, name: str) -> list[dict[str, Any]]:
    """Return the input artifacts of a stage under a name, each with its `uri` and `metadata`."""
    return stage.executor_input["inputs"]["artifacts"][name]["artifacts"]


def _by_row(artifacts: list[dict[str, Any]]) -> list[tuple[str, int, str]]:
    rows = [(each["metadata"]["member"], int(each["metadata"]["fold"]), each["uri"]) for each in artifacts]
    for member, *_ in rows:  # it becomes part of a path
        if not ID.fullmatch(member):
            raise ValueError(f"expected the id of a member, found {member!r}")
    return rows
