"""The stage `ensemble`."""

from kfp.dsl import Dataset, Input, Output

from components.stage import stage


@stage(image="results")
def ensemble(
    predictions: Input[list[Dataset]], spectrograms: Input[Dataset], mean: str, weights: str, averaged: Output[Dataset]
) -> None:
    """Average the members' predictions.

    Args:
        predictions: The outputs of all `predict` tasks.
        spectrograms: The output of `preprocess`.
        mean: "arithmetic", "geometric" or "rank".
        weights: Weights of the members: "equal", or "fitted" to the out-of-fold predictions.
        averaged: A folder with submission.csv, predictions.parquet and ensemble.json.
    """
    from pathlib import Path

    from audiotagging.base.machine import Meter, add_prefix, add_up
    from audiotagging.ensemble.ensembling import ensemble

    meter = Meter()
    paths = [Path(table.path) for table in predictions]
    ensemble(paths, spectrograms=Path(spectrograms.path), out=Path(averaged.path), mean=mean, weights=weights)
    predicted = add_up([table.metadata for table in predictions])  # `evaluate` does not get the predictions themselves
    averaged.metadata.update(meter.cost() | add_prefix(predicted, "predict_"))
