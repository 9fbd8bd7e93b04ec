"""Loads an ensemble to tag sounds with."""

from pathlib import Path

from audiotagging.artifacts.champions_folder import champion_folder
from audiotagging.artifacts.onnx_metadata import ENSEMBLE
from audiotagging.base.errors import UserError
from audiotagging.tagging.tagger import Networks, Tagger


def load_tagger(models: Path, *, device: str | None = None, threads: int | None = None) -> Tagger:
    """Load an ensemble.

    Args:
        models: The output folder of a run, its folder `models`, a champions folder, or what the command `export` wrote:
            its folder, or an ONNX file in it.
        device: "cpu", "cuda", or "cuda:1" for the second GPU. The default is the GPU if there is one; what was exported
            is computed on the CPU.
        threads: The number of threads for computations on the CPU. The default is `OMP_NUM_THREADS` if it is set, and
            otherwise all cores that this process may use. torch has one such number for the whole process.

    Raises:
        UserError: If it holds no ensemble, or one that is incomplete or corrupt, or if there is no such device.
    """
    if threads is not None and threads < 1:
        raise UserError(f"threads: expected a number of at least 1, found {threads}")
    return Tagger(_load_networks(models, device, threads))


def _load_networks(models: Path, device: str | None, threads: int | None) -> Networks:
    # Imported here, because each takes seconds, and where one is used the other need not be installed.
    if models.suffix == ".onnx" or (models / ENSEMBLE).is_file():
        from audiotagging.tagging.onnx_networks import OnnxNetworks

        if device not in (None, "cpu"):
            raise UserError(f"device: expected cpu for the exported {models}, found {device!r}; name the run instead")
        return OnnxNetworks(models / ENSEMBLE if models.is_dir() else models, threads=threads)
    try:
        from audiotagging.tagging.torch_networks import TorchNetworks
    except ModuleNotFoundError as error:
        raise UserError(
            f"{models}: expected a folder with {ENSEMBLE}, because {error.name} is not installed here; "
            "`audiotagging export OUT` writes one"
        ) from error
    return TorchNetworks(champion_folder(models) or models, device=device, threads=threads)
