"""The stage `promote`."""

from kfp.dsl import Dataset, Input, Model, Output

from components.stage import stage


@stage(image="results")
def promote(
    averaged: Input[Dataset],
    models: Input[list[Model]],
    spectrograms: Input[Dataset],
    selection: Input[Dataset],
    rescored: Input[Dataset],
    champions: str,
    policy: str,
    margin: float,
    run: str,
    promotion: Output[Dataset],
) -> None:
    """Store the ensemble, and make it the champion unless it is worse than the best champion so far.

    Args:
        averaged: The output of `ensemble`.
        models: The outputs of all `train` tasks.
        spectrograms: The output of `preprocess`.
        selection: The output of `select`.
        rescored: The output of `rescore`.
        champions: Folder of the champion and other versions. An empty string disables this stage.
        policy: Which ensembles to promote: "better", "not-worse" or "never".
        margin: The lwlrap that a champion may lose.
        run: Id of the run, for the history.
        promotion: A JSON file with the decision and the history of the champions, without content if this stage is
            disabled.
    """
    from pathlib import Path

    from audiotagging.artifacts.champions_folder import Promotion, read_events
    from audiotagging.base.machine import Meter, add_prefix, add_up
    from audiotagging.base.typed_json import write_json
    from audiotagging.champions.promotion import promote

    meter = Meter()
    content: Promotion = {}
    if champions:
        decision = promote(
            Path(averaged.path),
            models=[Path(model.path) for model in models],
            spectrograms=Path(spectrograms.path),
            selection=Path(selection.path),
            champions=Path(champions),
            rescored=(rescored.metadata["version"], Path(rescored.path)),
            policy=policy,
            margin=margin,
            run=run,
        )
        content = {"decision": decision, "history": read_events(Path(champions))}
    write_json(Path(promotion.path), content)
    # `evaluate` does not get the output of `rescore` itself.
    promotion.metadata.update(meter.cost() | add_prefix(add_up([rescored.metadata]), "rescore_"))
