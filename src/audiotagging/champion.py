"""The models location: trained ensembles under versions, and which of them is the champion.

champion.json                            which version it is, and how it came to be; switched last
versions/VERSION/models/MEMBER-foldK/    weights.safetensors, member.json, history.parquet
versions/VERSION/                        predictions.parquet, submission.csv, ensemble.json
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from audiotagging.files import read_json
from audiotagging.members import Member, model_name
from audiotagging.shards import read_classes

POINTER = "champion.json"
VERSIONS = "versions"

logger = logging.getLogger(__name__)


def read_champion(location: Path) -> dict[str, Any] | None:
    """Return the content of `champion.json`, with at least `version`; None if nothing has been promoted yet."""
    try:
        return read_json(location / POINTER, "version")
    except FileNotFoundError:
        return None


def champion_folder(location: Path) -> Path | None:
    """Return the folder of the champion, None if nothing has been promoted yet.

    Raises:
        ValueError: If it is not where `champion.json` says.
    """
    champion = read_champion(location)
    if champion is None:
        return None
    folder = location / VERSIONS / champion["version"]
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: expected the champion that {location / POINTER} names, found no such folder; put it back, or "
            f"delete {POINTER} to begin anew"
        )
    return folder


def starting_point(
    member: Member, *, fold: int, location: Path, spectrograms: Path, share: float
) -> tuple[Member, Path | None]:
    """Return the member with a shorter schedule, and the champion's model that its training begins with.

    The member is returned as it is, and no model, if the champion has none of the same member that was trained on
    everything, or one of another network or other classes. With a fold held out there is none either: when clips are
    added the folds are dealt anew, and the champion's model of the same fold may have seen what this one holds out.

    Args:
        member: The member to train.
        fold: The fold to hold out.
        location: The models location.
        spectrograms: The folder of shards to train on.
        share: Share of the member's epochs to train.
    """
    folder = champion_folder(location)
    if folder is None:
        logger.info("no champion yet: %s begins with new weights", member.id)
        return member, None
    if fold >= 0:
        logger.info(
            "%s holds out fold %d, which the champion may have seen: it begins with new weights", member.id, fold
        )
        return member, None
    model = folder / "models" / model_name(member.id, fold)
    facts = read_json(model / "member.json", "member", "classes") if model.exists() else None
    if facts is None or facts["member"]["network"] != member.network or facts["classes"] != read_classes(spectrograms):
        logger.info("the champion has no model for %s: it begins with new weights", member.id)
        return member, None
    logger.info("%s begins with the weights of %s", member.id, model)
    return replace(member, epochs=max(1, round(share * member.epochs))), model
