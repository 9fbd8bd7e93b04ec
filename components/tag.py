"""The stage `tag` of the pipeline `tagging`."""

from kfp.dsl import Dataset, Input, Output

from components.stage import stage


@stage(image="tagging")
def tag(batch: dict, shard: str, new: Input[Dataset], cost: Output[Dataset]) -> None:
    """Tag the sounds of a shard. The tags go to the folder of results at least once a minute.

    Args:
        batch: What the stages of the batch have in common, from `find`.
        shard: Number of the shard, as a string: on a cluster, the items of a list of another stage are strings.
        new: The table of new sounds, from `find`.
        cost: A JSON file with what this stage cost.
    """
    from pathlib import Path

    from audiotagging.base.machine import Meter
    from audiotagging.base.typed_json import convert, write_json
    from audiotagging.tagging.batches import Batch, tag

    meter = Meter()
    tag(convert(batch, Batch), new=Path(new.path), shard=int(shard))
    cost.metadata.update(meter.cost())
    write_json(Path(cost.path), cost.metadata)
