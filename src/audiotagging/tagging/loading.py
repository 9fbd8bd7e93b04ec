"""Loads an ensemble to tag sounds with."""

from pathlib import Path

from audiotagging.artifacts.champion import champion_folder
from audiotagging.tagging.tagger import Tagger


def load_tagger(models: Path) -> Tagger:
    """Load the ensemble of a run or of a champions folder.

    Args:
        models: The output folder of a run, its folder `models`, or a champions folder.

    Raises:
        UserError: If it holds no ensemble, or one that is incomplete or corrupt.
    """
    from audiotagging.tagging.torch_networks import TorchNetworks  # here, because torch takes seconds to import

    return Tagger(TorchNetworks(champion_folder(models) or models))
