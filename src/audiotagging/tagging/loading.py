"""Loads an ensemble to tag sounds with."""

from pathlib import Path

from audiotagging.artifacts.champions_folder import champion_folder
from audiotagging.artifacts.onnx_metadata import ENSEMBLE
from audiotagging.base.errors import UserError
from audiotagging.tagging.tagger import Networks, Tagger


def load_tagger(models: Path) -> Tagger:
    """Load an ensemble.

    Args:
        models: The output folder of a run, its folder `models`, a champions folder, or what the command `export` wrote:
            its folder, or an ONNX file in it.

    Raises:
        UserError: If it holds no ensemble, or one that is incomplete or corrupt.
    """
    return Tagger(_load_networks(models))


def _load_networks(models: Path) -> Networks:
    # Imported here, because each takes seconds, and where one is used the other need not be installed.
    if models.suffix == ".onnx" or (models / ENSEMBLE).is_file():
        from audiotagging.tagging.onnx_networks import OnnxNetworks

        return OnnxNetworks(models / ENSEMBLE if models.is_dir() else models)
    try:
        from audiotagging.tagging.torch_networks import TorchNetworks
    except ModuleNotFoundError as error:
        raise UserError(
            f"{models}: expected a folder with {ENSEMBLE}, because {error.name} is not installed here; "
            "`audiotagging export OUT` writes one"
        ) from error
    return TorchNetworks(champion_folder(models) or models)
