"""The stage `evaluate`."""

from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.stage import stage


@stage(image="results")
def evaluate(
    averaged: Input[Dataset],
    models: Input[list[Model]],
    spectrograms: Input[Dataset],
    selection: Input[Dataset],
    promotion: Input[Dataset],
    ingested: dict,
    command: str,
    scores: Output[Metrics],
    report: Output[HTML],
    audit: Output[Dataset],
) -> None:
    """Score the ensemble and its members, and write the report.

    Args:
        averaged: The output of `ensemble`.
        models: The outputs of all `train` tasks.
        spectrograms: The output of `preprocess`.
        selection: The output of `select`.
        promotion: The output of `promote`.
        ingested: What `ingest` cost. What the other stages cost is in the metadata of their outputs.
        command: The command line that started the run, for the report.
        scores: A JSON file. The lwlrap and the mAP of the ensemble and of every member are metrics too.
        report: One self-contained HTML page.
        audit: A folder with suspicious.csv and audit.html, or without files if no folds were held out.
    """
    from pathlib import Path

    from audiotagging.artifacts.champions_folder import Promotion
    from audiotagging.base.machine import Meter, add_up, select_prefixed
    from audiotagging.base.typed_json import read_json
    from audiotagging.evaluation.run_metadata import Origin
    from audiotagging.report.evaluate import evaluate

    meter = Meter()
    costs = {
        "ingest": ingested,
        "preprocess": spectrograms.metadata,
        "select": selection.metadata,
        "train": add_up([model.metadata for model in models]),
        "predict": select_prefixed(averaged.metadata, "predict_"),
        "ensemble": averaged.metadata,
        "rescore": select_prefixed(promotion.metadata, "rescore_"),
        "promote": promotion.metadata,
    }
    figures = evaluate(
        Path(averaged.path),
        models=[Path(model.path) for model in models],
        spectrograms=Path(spectrograms.path),
        report=Path(report.path),
        scores=Path(scores.path),
        audit=Path(audit.path),
        selection=Path(selection.path),
        promotion=read_json(Path(promotion.path), Promotion),
        origin=Origin(command=command, costs=costs, meter=meter),
    )
    for subset, lwlrap in figures["ensemble"].items():
        scores.log_metric(f"lwlrap_{subset}", lwlrap)
    for member, subsets in figures["members"].items():
        for subset, lwlrap in subsets.items():
            scores.log_metric(f"lwlrap_{subset}_{member}", lwlrap)
    for subset, lwlrap in figures.get("linear", {}).items():
        scores.log_metric(f"lwlrap_{subset}_linear", lwlrap)
    for system, subsets in figures["mean_average_precision"].items():
        for subset, precision in subsets.items():
            scores.log_metric(f"map_{subset}" if system == "ensemble" else f"map_{subset}_{system}", precision)
