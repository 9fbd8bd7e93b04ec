"""The champions folder holds trained ensembles by version, one of which is the champion.

champion.json                            version of the champion, and why it was promoted; replaced last
versions/VERSION/models/MEMBER-foldK/    weights.safetensors, member.json, history.parquet
versions/VERSION/                        predictions.parquet, submission.csv, ensemble.json
"""

from pathlib import Path
from typing import Any

from audiotagging.errors import UserError
from audiotagging.files import read_json

POINTER = "champion.json"
VERSIONS = "versions"


def read_champion(champions: Path) -> dict[str, Any] | None:
    """Read `champion.json`, which has at least the key `version`. Return None if nothing has been promoted yet."""
    try:
        return read_json(champions / POINTER, "version")
    except FileNotFoundError:
        return None


def champion_folder(champions: Path) -> Path | None:
    """Return the folder of the champion, or None if nothing has been promoted yet.

    Raises:
        UserError: If the folder that `champion.json` names does not exist.
    """
    champion = read_champion(champions)
    if champion is None:
        return None
    folder = champions / VERSIONS / champion["version"]
    if not folder.is_dir():
        raise UserError(
            f"{folder}: expected the champion that {champions / POINTER} names, found no such folder; restore it, or "
            f"delete {POINTER} to start without a champion"
        )
    return folder
