"""A warm start: training begins with the champion's weights and takes a share of the epochs."""

import logging
from dataclasses import replace
from pathlib import Path

from audiotagging.artifacts.champion import champion_folder
from audiotagging.artifacts.model_folder import model_name, read_facts
from audiotagging.artifacts.spectrogram_shards import read_classes
from audiotagging.members import Member

logger = logging.getLogger(__name__)


def starting_point(
    member: Member, *, fold: int, location: Path, spectrograms: Path, share: float
) -> tuple[Member, Path | None]:
    """Return the member with a shorter schedule, and the champion's model that its training begins with.

    The member is returned as it is, and no model, if the champion has none of the same member that was trained on
    everything, or one of another network or other classes. With a fold held out there is none either: when clips are
    added the folds are dealt again, and the champion's model of the same fold may have seen what this one holds out.

    Args:
        member: The member to train.
        fold: The fold to hold out.
        location: The models location.
        spectrograms: The folder of shards to train on.
        share: Share of the member's epochs to train.

    Raises:
        UserError: If the champion is not where it should be, or damaged.
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
    facts = read_facts(model) if model.exists() else None
    if facts is None or facts.member.network != member.network or facts.classes != read_classes(spectrograms):
        logger.info("the champion has no model for %s: it begins with new weights", member.id)
        return member, None
    logger.info("%s begins with the weights of %s", member.id, model)
    return replace(member, epochs=max(1, round(share * member.epochs))), model
