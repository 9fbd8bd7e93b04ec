"""The stage `predict`."""

from kfp.dsl import Dataset, Input, Model, Output

from components.stage import stage


@stage(image="training")
def predict(
    model: Input[Model], spectrograms: Input[Dataset], selection: Input[Dataset], predictions: Output[Dataset]
) -> None:
    """Score the test clips, and the clips of the fold that was held out.

    Args:
        model: The output of `train`.
        spectrograms: The output of `preprocess`.
        selection: The output of `select`.
        predictions: A Parquet file, one row per clip.
    """
    from pathlib import Path

    from audiotagging.base.machine import Meter
    from audiotagging.training.prediction import predict

    meter = Meter()
    predict(
        Path(model.path),
        spectrograms=Path(spectrograms.path),
        selection=Path(selection.path),
        out=Path(predictions.path),
    )
    predictions.metadata.update(member=model.metadata["member"], fold=model.metadata["fold"], **meter.cost())
