"""Promotion: a new ensemble takes the champion's place by the rule in `promotion_rule`, or by hand."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from audiotagging.artifacts.champions_folder import (
    HISTORY,
    VERSIONS,
    Champion,
    Comparison,
    Decision,
    Event,
    Provenance,
    best_folder,
    best_version,
    champion_folder,
    read_champion,
    read_events,
    version_folder,
    withdrawn,
)
from audiotagging.artifacts.ensemble_folder import ensemble_version, read_ensemble
from audiotagging.artifacts.model_folder import check_weights, read_metadata
from audiotagging.artifacts.spectrogram_shards import read_clips, read_fingerprint
from audiotagging.artifacts.stored_version import read_version_predictions
from audiotagging.base.errors import UserError
from audiotagging.base.locks import LOCK, file_lock
from audiotagging.base.typed_json import convert
from audiotagging.champions.promotion_rule import MARGIN, POLICIES, decide, judge
from audiotagging.champions.versions import (
    add_rescored,
    compare_predictions,
    compare_versions,
    forget,
    measure,
    record,
    store,
)

logger = logging.getLogger(__name__)


def promote(
    ensemble: Path,
    *,
    models: Sequence[Path],
    spectrograms: Path,
    selection: Path,
    champions: Path,
    rescored: tuple[str, Path] | None = None,
    policy: str = "not-worse",
    margin: float = MARGIN,
    run: str = "",
) -> Decision:
    """Store an ensemble as a version, and make it the champion if the rule in `promotion_rule` allows it.

    It is compared with the best champion so far, by a paired bootstrap over the labelled clips that both predicted. The
    pointer to the champion is replaced last and atomically. Concurrent promotions wait for each other.

    Args:
        ensemble: The folder that `audiotagging.ensemble.ensembling.ensemble` wrote.
        models: Folders of the trained models.
        spectrograms: The folder of shards that they were predicted from.
        selection: The folder of the selection that they were trained on.
        champions: The champions folder (`audiotagging.artifacts.champions_folder`).
        rescored: A version, and the table of its predictions of clips that are newer.
        policy: One of `promotion_rule.POLICIES`: which candidates are promoted. The first ensemble always is, unless
            none are.
        margin: The lwlrap that a champion may lose.
        run: Id of the run, for the history.

    Returns:
        The decision. If the ensemble is the champion already, this is the decision that made it the champion.

    Raises:
        UserError: If the policy does not exist, if the ensemble or a version is corrupt, or if a folder that
            `champion.json` names does not exist.
    """
    if policy not in POLICIES:
        raise UserError(f"expected to promote {', '.join(POLICIES)}, found {policy[:80]!r}")
    for model in models:
        check_weights(model)
        if read_metadata(model).sha256 is None:
            raise UserError(f"{model}: expected a model with the digest of its weights, found none; train it again")
    version = ensemble_version(ensemble, models)
    clips, (predictions, _) = read_clips(spectrograms), read_ensemble(ensemble)
    champions.mkdir(parents=True, exist_ok=True)
    with file_lock(champions / LOCK):
        champion, _ = read_champion(champions), champion_folder(champions)
        if champion and champion["version"] == version:
            logger.info("this ensemble has been the champion since %s", champion["since"])
            return convert(champion, Decision)  # without the date
        best = best_folder(champions)
        if best and rescored and rescored[0] == best.name:
            add_rescored(best, rescored[1])
        comparison = compare_predictions(predictions, read_version_predictions(best), clips) if best else None
        history = read_events(champions)
        decision = _decide(version, champion, comparison, history, policy=policy, margin=margin)
        folder = champions / VERSIONS / version
        store(folder, ensemble, models=models, spectrograms=spectrograms, selection=selection)
        origin = Provenance(run=run, fingerprint=read_fingerprint(spectrograms))
        if measured := measure(predictions, clips):
            origin["measured"] = measured
        _record(champions, "candidate", decision, before=champion, origin=origin)
    logger.info("%s", decision["reason"])
    return decision


def _decide(
    version: str,
    champion: Champion | None,
    comparison: Comparison | None,
    history: Sequence[Event],
    *,
    policy: str,
    margin: float,
) -> Decision:
    """Return the decision on a candidate that was compared with the best champion, if there is one."""
    by_hand = f"`audiotagging champion accept {version}` promotes it."
    if champion is None:
        if policy == "never":
            reason = f"Not promoted: there is no champion yet, and none is promoted by itself. {by_hand}"
            return Decision(version=version, champion="", promoted=False, reason=reason, verdict="first")
        reason = "Promoted: there was no champion yet."
        return Decision(version=version, champion="", promoted=True, reason=reason, verdict="first")
    best = best_version(champion)
    if comparison is None:
        reason = (
            "Not promoted: the ensemble has different classes than the best champion, or no labelled clips in common "
            f"with it, so the two cannot be compared. {by_hand}"
        )
        return Decision(version=version, champion=best, promoted=False, reason=reason, verdict="not comparable")
    obstacle = ""
    if champion.get("pinned"):
        obstacle = f"The champion {champion['version']} is pinned."
    elif version in withdrawn(history):
        obstacle = "It was rolled back by hand."
    outcome = decide(
        comparison, margin=margin, peak=highest_difference(history, best), policy=policy, obstacle=obstacle
    )
    decision = Decision(
        version=version,
        champion=best,
        promoted=outcome.passes,
        reason=outcome.reason if outcome.passes or outcome.verdict == "worse" else f"{outcome.reason} {by_hand}",
        verdict=outcome.verdict,
        comparison=comparison,
    )
    if outcome.more_clips is not None:
        decision["more_clips"] = outcome.more_clips
    return decision


def highest_difference(history: Sequence[Event], best: str) -> float:
    """Return the highest difference from the best champion that a champion since then had, at least 0."""
    rolled_back = withdrawn(history)
    decisions = [
        event["decision"]
        for event in history
        if event["after"] == event["version"] and event["version"] not in rolled_back
    ]
    compared = [each["comparison"] for each in decisions if "comparison" in each and each["champion"] == best]
    return max([0.0, *(comparison["difference"] for comparison in compared)])


def accept(champions: Path, version: str, *, margin: float = MARGIN) -> Decision:
    """Make a stored version the champion, whatever its verdict was.

    It becomes the best champion too if it is better than that, or if the two cannot be compared.

    Raises:
        UserError: If the version does not exist or is the champion already, or if the champion is pinned.
    """
    with file_lock(champions / LOCK):
        champion = _replaceable(champions, version)
        version_folder(champions, version)
        decision = Decision(version=version, champion="", promoted=True, reason="Accepted by hand.", verdict="first")
        if champion:
            decision["champion"] = best_version(champion)
            comparison = compare_versions(champions, version, decision["champion"])
            decision["verdict"] = judge(comparison, margin=margin) if comparison else "not comparable"
            if comparison:
                decision["comparison"] = comparison
        _record(champions, "accept", decision, before=champion)
        return decision


def roll_back(champions: Path, version: str = "") -> str:
    """Put a former champion into use again, by default the one before. Candidates are then compared with it.

    The version that was in use does not come back by itself.

    Returns:
        The version that is in use now.

    Raises:
        UserError: If there is no champion before, if its folder does not exist any more, or if the champion is pinned.
    """
    with file_lock(champions / LOCK):
        champion = _replaceable(champions, version)
        former = [event["before"] for event in read_events(champions) if event["before"] != event["after"]]
        former = [each for each in former if each and champion and each != champion["version"]]
        version = version or (former[-1] if former else "")
        if champion is None or not version:
            raise UserError(f"{champions}: expected a champion before the present one, found none in {HISTORY}")
        version_folder(champions, version)
        decision = Decision(version=version, champion="", promoted=True, reason="Rolled back by hand.")
        _record(champions, "roll back", decision, before=champion, best=version)
        return version


def pin(champions: Path, version: str) -> None:
    """Put a version into use, and let no candidate take its place until it is unpinned.

    Raises:
        UserError: If the version does not exist.
    """
    with file_lock(champions / LOCK):
        version_folder(champions, version)
        champion = read_champion(champions)
        decision = Decision(version=version, champion="", promoted=True, reason="Pinned by hand.")
        if champion and champion["version"] == version:
            decision = convert(champion, Decision)
        best = best_version(champion) if champion else version
        _record(champions, "pin", decision, before=champion, best=best, pinned=True)


def unpin(champions: Path) -> str:
    """Let candidates take the champion's place again. Return its version.

    Raises:
        UserError: If no champion is pinned.
    """
    with file_lock(champions / LOCK):
        champion = read_champion(champions)
        if champion is None or not champion.get("pinned"):
            raise UserError(f"{champions}: expected a pinned champion, found none")
        _record(champions, "unpin", convert(champion, Decision), before=champion, best=best_version(champion))
        return champion["version"]


def _replaceable(champions: Path, version: str) -> Champion | None:
    """Return the champion, after checking that another version may take its place."""
    champion = read_champion(champions)
    if champion and champion["version"] == version:
        raise UserError(f"{champions}: expected another version than the champion, found {version}")
    if champion and champion.get("pinned"):
        raise UserError(
            f"{champions}: expected a champion that can be replaced, found {champion['version']} pinned; "
            "`audiotagging champion unpin` releases it"
        )
    return champion


def _record(
    champions: Path,
    action: str,
    decision: Decision,
    *,
    before: Champion | None,
    best: str = "",
    pinned: bool = False,
    origin: Provenance | None = None,
) -> None:
    """Record a decision, switch to the version if it was promoted, and remove old versions.

    Without `best`, the version becomes the best champion if it was promoted and is the first one, is better than the
    best one, or cannot be compared with it.
    """
    version, now = decision["version"], datetime.now(UTC).isoformat(timespec="seconds")
    old, old_best = (before["version"], best_version(before)) if before else ("", "")
    champion = None
    if decision["promoted"]:
        takes_over = decision.get("verdict") in ("first", "better", "not comparable")
        best = best or (version if takes_over else old_best)
        since = before["since"] if before and version == old else now
        champion = Champion(**decision, since=since, best=best, pinned=pinned)
    event = Event(
        when=now,
        action=action,
        version=version,
        before=old,
        after=version if champion else old,
        best=best or old_best,
        decision=decision,
        **(origin or {}),
    )
    record(champions, event, champion)
    forget(champions, keep={version, old, old_best, event["after"], event["best"]})
