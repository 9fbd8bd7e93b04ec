"""A warm start: training starts with the champion's weights and takes only a share of the epochs."""

import logging
from dataclasses import replace
from pathlib import Path

from audiotagging.artifacts.champions_folder import champion_folder
from audiotagging.artifacts.model_folder import model_name, read_facts
from audiotagging.artifacts.spectrogram_shards import read_classes
from audiotagging.members import Member

logger = logging.getLogger(__name__)


def starting_point(
    member: Member, *, fold: int, champions: Path, spectrograms: Path, share: float
) -> tuple[Member, Path | None]:
    """Find the champion's model to start from, and shorten the member's training.

    There is no warm start if the champion has no model of this member that was trained on everything, or if that model
    has another network or other classes. There is none for a held-out fold either: folds change when clips are added,
    so the champion's model of the same fold may have been trained on clips that are held out now.

    Args:
        member: The member to train.
        fold: The fold to hold out, or -1 for none.
        champions: The champions folder.
        spectrograms: The folder of shards to train on.
        share: Share of the member's epochs to train.

    Returns:
        The member with fewer epochs and the folder of the champion's model; or the unchanged member and None if there
        is no warm start.

    Raises:
        UserError: If the champion is missing or corrupt.
    """
    folder = champion_folder(champions)
    if folder is None:
        logger.info("%s starts with new weights: there is no champion yet", member.id)
        return member, None
    if fold >= 0:
        logger.info(
            "%s starts with new weights: the champion may have been trained on clips of fold %d", member.id, fold
        )
        return member, None
    model = folder / "models" / model_name(member.id, fold)
    facts = read_facts(model) if model.exists() else None
    if facts is None or facts.member.network != member.network or facts.classes != read_classes(spectrograms):
        logger.info("%s starts with new weights: the champion has no matching model", member.id)
        return member, None
    logger.info("%s starts with the weights of %s", member.id, model)
    return replace(member, epochs=max(1, round(share * member.epochs))), model
