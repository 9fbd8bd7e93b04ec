"""Chooses the weights that a member starts with: those of `--init`, or the champion's."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audiotagging.artifacts.champions_folder import champion_folder
from audiotagging.artifacts.initial_weights import initial_weights
from audiotagging.artifacts.model_folder import ModelMetadata, model_name, read_metadata
from audiotagging.artifacts.spectrogram_shards import read_classes
from audiotagging.base.errors import UserError
from audiotagging.members import LINEAR, Member
from audiotagging.training.weights_file import read_weights


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
    facts = read_metadata(model) if model.exists() else None
    if facts is None or facts.member.network != member.network or facts.classes != read_classes(spectrograms):
        logger.info("%s starts with new weights: the champion has no matching model", member.id)
        return member, None
    logger.info("%s starts with the weights of %s", member.id, model)
    return replace(member, epochs=max(1, round(share * member.epochs))), model


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """Weights that a member may start with.

    Attributes:
        path: The folder of a model, or a file of weights.
        network: The network that they are for.
        facts: The facts about the training of the model. None for a file.
    """

    path: Path
    network: str
    facts: ModelMetadata | None = None


def candidates(init: Path) -> list[Candidate]:
    """Return all weights in what `--init` names.

    Raises:
        UserError: If there are none, or if a file or the facts about a model are damaged.
    """
    found = []
    for path in initial_weights(init):
        facts = read_metadata(path) if path.is_dir() else None
        found.append(Candidate(path, facts.member.network if facts else read_weights(path).network, facts))
    return found


def choose(
    weights: Sequence[Candidate], member: Member, *, fold: int, seed: int, fingerprint: str | None
) -> Path | None:
    """Choose the weights that a member starts with: those of its network.

    Among several, those of the same member come first, then those of the same fold. A model that was trained on the
    same data is left out if it has seen the clips of the fold to hold out, because the scores on them would be too
    good. Whether a file, or a model of other data, has seen some of them is not known.

    Args:
        weights: The weights to choose from.
        member: The member.
        fold: The fold to hold out, or -1 for none.
        seed: Seed of the run, which decides the folds.
        fingerprint: Fingerprint of the data, or None if that is not known yet.

    Returns:
        The folder of a model, or a file of weights. None if there are none of its network.
    """

    def has_seen(facts: ModelMetadata | None) -> bool:
        if facts is None or fold < 0 or facts.fingerprint != fingerprint:
            return False
        return (facts.fold, facts.seed) != (fold, seed)

    def rank(candidate: Candidate) -> tuple[bool, bool]:
        facts = candidate.facts
        return facts is None or facts.member.id != member.id, facts is None or facts.fold != fold

    fitting = [each for each in weights if each.network == member.network and not has_seen(each.facts)]
    name = member.id if fold < 0 else f"{member.id}, fold {fold},"
    if not fitting:
        seen = any(each.network == member.network for each in weights)
        reason = f"all have learnt from clips of fold {fold}" if seen else f"none are of its network, {member.network}"
        logger.info("%s starts with new weights: of those of --init, %s", name, reason)
        return None
    start = min(fitting, key=rank).path
    logger.info("%s starts with the weights of %s", name, start)
    return start


def check(init: Path, rows: Sequence[Mapping[str, Any]], *, seed: int) -> None:
    """Check before a run that a member can start with weights of `--init`, and log which ones start with what.

    Args:
        init: What `--init` names.
        rows: Members and folds to train, as `audiotagging.members.rows` returns them.
        seed: Seed of the run.

    Raises:
        UserError: If the weights are those of other networks, or if they are damaged.
    """
    rows = [row for row in rows if row["network"] != LINEAR]  # it is fitted in seconds, wherever it starts
    weights, members = candidates(init), [Member.from_row(row) for row in rows]
    folds = [int(row["fold"]) for row in rows]
    starts = {
        choose(weights, member, fold=fold, seed=seed, fingerprint=None)
        for member, fold in zip(members, folds, strict=True)
    }
    for start in filter(None, starts):
        read_weights(start)
    if starts == {None}:
        raise UserError(
            f"--init {init}: expected weights of {', '.join(sorted({member.network for member in members}))}, found "
            f"those of {', '.join(sorted({each.network for each in weights}))}; name others, or other --members"
        )
    logger.info("scores count only if these weights have not learnt from the clips that are scored")
