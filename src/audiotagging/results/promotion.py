"""Promotion: a new ensemble replaces the champion unless it scores worse on the same clips."""

import hashlib
import logging
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from audiotagging.artifacts.acoustics_table import ACOUSTICS
from audiotagging.artifacts.champion import (
    POINTER,
    VERSION,
    VERSIONS,
    Champion,
    Comparison,
    Decision,
    champion_folder,
    read_champion,
)
from audiotagging.artifacts.ensemble_folder import PREDICTIONS, read_ensemble
from audiotagging.artifacts.model_folder import check_weights, read_facts
from audiotagging.artifacts.prediction_table import Predictions
from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.errors import UserError
from audiotagging.files import atomic_file, atomic_folder
from audiotagging.json_file import convert, write_json
from audiotagging.locks import LOCK, file_lock
from audiotagging.results.comparison import compare_first_set
from audiotagging.results.labelled_clips import labelled_sets
from audiotagging.working_folder import working_folder

KEPT = 5  # number of newest versions that are never removed

logger = logging.getLogger(__name__)


def promote(ensemble: Path, *, models: Sequence[Path], spectrograms: Path, champions: Path) -> Decision:
    """Make an ensemble the champion, unless it is worse than the current champion.

    It is worse if the 95 % interval of the difference in lwlrap lies below zero, by a paired bootstrap over the clips
    that both ensembles predicted. The pointer to the champion is replaced last and atomically. Concurrent promotions
    wait for each other.

    Args:
        ensemble: The folder that `audiotagging.results.ensembling.ensemble` wrote.
        models: Folders of the trained models.
        spectrograms: The folder of shards that they were predicted from.
        champions: The champions folder (`audiotagging.artifacts.champion`).

    Returns:
        The decision. If the ensemble is the champion already, this is the decision that made it the champion.

    Raises:
        UserError: If the ensemble or the champion is corrupt, or if the folder that `champion.json` names does not
            exist.
    """
    version = _version(ensemble, models)
    champions.mkdir(parents=True, exist_ok=True)
    with file_lock(champions / LOCK):
        champion, folder = read_champion(champions), champion_folder(champions)
        if champion and champion["version"] == version:
            logger.info("this ensemble has been the champion since %s", champion["since"])
            return convert(champion, Decision)  # without the date
        decision = _decide(version, ensemble, spectrograms, champion, folder)
        if decision["promoted"]:
            _store(champions / VERSIONS / version, ensemble, models, spectrograms)
            _switch(champions, decision)
            _forget(champions / VERSIONS, keep={version, decision["champion"]})
    logger.info("%s", decision["reason"])
    return decision


def _decide(
    version: str, ensemble: Path, spectrograms: Path, champion: Champion | None, folder: Path | None
) -> Decision:
    if champion is None or folder is None:
        return Decision(version=version, champion="", promoted=True, reason="Promoted: there was no champion yet.")
    new, old = (read_ensemble(path)[0] for path in (ensemble, folder))
    comparison = None if new.classes != old.classes else compare_with_champion(new, old, read_clips(spectrograms))
    if comparison is None:
        why = "different classes than" if new.classes != old.classes else "no labelled clips in common with"
        reason = (
            f"Not promoted: the ensemble has {why} the champion, so the two cannot be compared. "
            f"Delete {POINTER} to start over with the next ensemble."
        )
        return Decision(version=version, champion=champion["version"], promoted=False, reason=reason)
    promoted = comparison["high"] >= 0
    verdict = "better than" if comparison["low"] > 0 else "not worse than" if promoted else "worse than"
    reason = (
        f"{'Promoted' if promoted else 'Not promoted'}: {verdict} the champion, with an lwlrap of "
        f"{comparison['score']:.4f} against {comparison['champion']:.4f} on {comparison['clips']} clips (difference "
        f"{comparison['difference']:+.4f}, 95 % interval {comparison['low']:+.4f} to {comparison['high']:+.4f})."
    )
    return Decision(
        version=version, champion=champion["version"], promoted=promoted, reason=reason, comparison=comparison
    )


def compare_with_champion(new: Predictions, old: Predictions, clips: pd.DataFrame) -> Comparison | None:
    """Compare two ensembles on the labelled clips that both predicted, on test clips if there are any.

    Args:
        new: Predictions of the new ensemble.
        old: Predictions of the champion, for the same classes.
        clips: The table of clips, with their labels.

    Returns:
        The comparison, or None if the two have no labelled clip in common.
    """
    compared = compare_first_set(labelled_sets(old, clips), labelled_sets(new, clips))
    if compared is None:
        return None
    name, found = compared
    return Comparison(
        set=name,
        clips=found["clips"],
        score=found["new"]["score"],
        champion=found["old"]["score"],
        difference=found["difference"],
        low=found["difference_low"],
        high=found["difference_high"],
    )


def _version(ensemble: Path, models: Sequence[Path]) -> str:
    """Return a hash of the predictions and weights, so that a retry of the stage finds the same version."""
    digest = hashlib.sha256((ensemble / PREDICTIONS).read_bytes())
    for model in sorted(models, key=lambda model: read_facts(model).name):
        check_weights(model)
        weights = read_facts(model).sha256
        if weights is None:
            raise UserError(f"{model}: expected a model with the digest of its weights, found none; train it again")
        digest.update(bytes.fromhex(weights))
    return digest.hexdigest()[:16]


def _store(folder: Path, ensemble: Path, models: Sequence[Path], spectrograms: Path) -> None:
    if folder.exists():
        return
    with atomic_folder(folder) as partial:
        shutil.copytree(ensemble, partial, dirs_exist_ok=True)
        for model in models:
            shutil.copytree(model, partial / "models" / read_facts(model).name)
        if (spectrograms / ACOUSTICS).exists():
            shutil.copy(spectrograms / ACOUSTICS, partial)
        for path in (partial, *partial.rglob("*")):  # the modes are those of the originals, which all may write to
            path.chmod(path.stat().st_mode & ~(0o022 if path.is_dir() else 0o222))


def _switch(champions: Path, decision: Decision) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    with atomic_file(champions / POINTER) as partial:
        write_json(partial, decision | {"since": since})


def _forget(versions: Path, *, keep: set[str]) -> None:
    """Remove old versions: all but the `KEPT` newest and those in `keep`."""
    ours = [path.parent for path in versions.glob("*/ensemble.json") if VERSION.fullmatch(path.parent.name)]
    newest_first = sorted(ours, key=lambda folder: folder.stat().st_mtime, reverse=True)
    with working_folder(versions / "removed") as removed:  # what is only half removed is no version any more
        for folder in newest_first[KEPT:]:
            if folder.name not in keep:
                folder.rename(removed / folder.name)
