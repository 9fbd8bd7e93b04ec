"""The stage `conclude`, which runs when all others have ended well."""

from components.stage import stage


@stage(image="results")
def conclude(inputs: dict, champions: str, run: str) -> None:
    """Write down what the run was of, so that a later one that finds nothing new may end early.

    Args:
        inputs: What its results depend on, from `ingest`.
        champions: Folder of the champion and other versions. An empty string disables this stage.
        run: Id of the run.
    """
    from pathlib import Path

    from audiotagging.artifacts.last_run import remember

    if champions:
        remember(Path(champions), run=run, inputs=inputs)
