"""The stage `train`."""

from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.stage import stage


@stage(image="training")
def train(
    row: dict,
    spectrograms: Input[Dataset],
    selection: Input[Dataset],
    init: dict,
    seed: int,
    checkpoints: str,
    champions: str,
    warm_start: float,
    model: Output[Model],
    metrics: Output[Metrics],
) -> None:
    """Train one member with one fold held out.

    Args:
        row: A row of `audiotagging.members.rows`: the fields of a Member and `fold`.
        spectrograms: The output of `preprocess`.
        selection: The output of `select`.
        init: The weights to start with, from `ingest`.
        seed: Seed of the run. The seed of each member and fold is derived from it.
        checkpoints: Folder or URI for the checkpoints of interrupted trainings. An empty string disables them.
        champions: The champions folder, for a warm start. An empty string disables it.
        warm_start: Share of the epochs to train in a warm start. 0 means new weights and all epochs.
        model: The folder of the model (`audiotagging.artifacts.model_folder`).
        metrics: The loss of the last epoch and, if a fold is held out, its lwlrap.
    """
    from pathlib import Path

    from audiotagging.artifacts.model_folder import final_metrics
    from audiotagging.base.machine import Meter
    from audiotagging.base.typed_json import write_json
    from audiotagging.training.supervisor import supervise

    meter = Meter()
    supervise(
        "audiotagging.training.train:train_row",
        row=row,
        spectrograms=Path(spectrograms.path),
        selection=Path(selection.path),
        init=init,
        out=Path(model.path),
        seed=seed,
        checkpoints=checkpoints,
        champions=champions,
        warm_start=warm_start,
    )
    model.metadata.update(member=row["id"], fold=int(row["fold"]), **meter.cost())
    for name, value in final_metrics(Path(model.path)).items():
        metrics.log_metric(name, value)
    # kfp's local cache forgets a stage if one of its outputs has no file.
    write_json(Path(metrics.path), metrics.metadata)
