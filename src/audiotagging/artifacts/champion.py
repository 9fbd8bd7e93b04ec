"""The models location: trained ensembles under versions, and which of them is the champion.

champion.json                            which version it is, and how it came to be; switched last
versions/VERSION/models/MEMBER-foldK/    weights.safetensors, member.json, history.parquet
versions/VERSION/                        predictions.parquet, submission.csv, ensemble.json
"""

from pathlib import Path
from typing import Any

from audiotagging.errors import UserError
from audiotagging.files import read_json

POINTER = "champion.json"
VERSIONS = "versions"


def read_champion(location: Path) -> dict[str, Any] | None:
    """Return the content of `champion.json`, with at least `version`; None if nothing has been promoted yet."""
    try:
        return read_json(location / POINTER, "version")
    except FileNotFoundError:
        return None


def champion_folder(location: Path) -> Path | None:
    """Return the folder of the champion, None if nothing has been promoted yet.

    Raises:
        UserError: If it is not where `champion.json` says.
    """
    champion = read_champion(location)
    if champion is None:
        return None
    folder = location / VERSIONS / champion["version"]
    if not folder.is_dir():
        raise UserError(
            f"{folder}: expected the champion that {location / POINTER} names, found no such folder; put it back, or "
            f"delete {POINTER} to begin anew"
        )
    return folder
