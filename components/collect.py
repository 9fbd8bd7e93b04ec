"""The stage `collect` of the pipeline `tagging`."""

from kfp.dsl import Dataset, Input

from components.stage import stage


@stage(image="tagging")
def collect(batch: dict, costs: Input[list[Dataset]]) -> dict:
    """Make a batch of what all shards have tagged.

    Args:
        batch: What the stages of the batch have in common, from `find`.
        costs: The outputs of all `tag` tasks, which must be done.

    Returns:
        Name of the batch, its number of files, unreadable files and tags, and the verdict on its drift.
    """
    from audiotagging.base.typed_json import convert
    from audiotagging.tagging.batches import Batch, collect

    return collect(convert(batch, Batch))
