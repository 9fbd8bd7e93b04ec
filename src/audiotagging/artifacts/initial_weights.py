"""The weights that training starts with, as the user names them with `--init`.

They are a file of weights, the folder of a trained model, or a folder of several of these, such as `models` of an
earlier run. The stage `ingest` finds and describes them; the stage `train` reads them. The description changes with
their content, so that other weights of the same name train again:

    {}                                      new weights
    {"path": PATH, "sha256": DIGEST}        the file or folder, with a digest of its content
"""

from pathlib import Path
from typing import Any

from audiotagging.artifacts.champions_folder import champion_folder
from audiotagging.artifacts.model_folder import FACTS, WEIGHTS, model_folders, models_folder
from audiotagging.base.errors import UserError
from audiotagging.base.files import digest

SUFFIXES = (".safetensors", ".pth", ".pt")


def initial_weights(init: Path) -> list[Path]:
    """Return the folders of models and the files of weights that training can start with, in the order of their names.

    Args:
        init: A file of weights, the folder of a model, a folder of these, the output of a run, or a champions folder.

    Raises:
        UserError: If there is nothing of this kind.
    """
    init = whole(init)
    if init.is_file():
        return [init]
    if not init.is_dir():
        raise UserError(f"--init {init}: expected a file of weights or a folder of models, found nothing there")
    if (init / FACTS).is_file():
        return [init]
    folder = models_folder(champion_folder(init) or init)
    found = model_folders(folder) + sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    if not found:
        raise UserError(
            f"--init {init}: expected models, or files that end with {', '.join(SUFFIXES)}, found neither; name the "
            "folder `models` of a run, or a file of weights"
        )
    return found


def whole(init: Path) -> Path:
    """Return the folder of a model for its file of weights, and any other path as it is."""
    return init.parent if init.name == WEIGHTS and (init.parent / FACTS).is_file() else init


def describe_init(init: Path | None) -> dict[str, Any]:
    """Describe weights as they pass from `ingest` to `train` (see this module's docstring).

    Raises:
        UserError: If there are no weights of this name.
    """
    return {"path": str(init), "sha256": digest(initial_weights(init))} if init else {}
