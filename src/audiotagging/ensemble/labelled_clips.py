"""The labelled clips of a run, with the scores that the ensemble and its members gave them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from audiotagging.artifacts.predictions import PARTS, Predictions
from audiotagging.artifacts.spectrogram_shards import NEGATIVE, read_classes, read_clips
from audiotagging.base.errors import UserError
from audiotagging.statistics.metrics import label_table

SETS = ("all", "public", "private", "out_of_fold")


@dataclass(frozen=True)
class Gathered:
    """The scores that several members gave to the clips of one part.

    Attributes:
        members: Ids of the members.
        clips: Names of the clips.
        classes: The classes, in the order of the scores.
        scores: float32, shape (members, clips, classes).
    """

    members: list[str]
    clips: list[str]
    classes: list[str]
    scores: np.ndarray


@dataclass(frozen=True)
class LabelledSet:
    """Labelled clips and the scores that several systems gave them.

    Attributes:
        clips: Names of the clips.
        truth: True where the clip has the label, bool, shape (clips, classes).
        systems: The scores of the ensemble and of every member by name, each of shape (clips, classes).
    """

    clips: list[str]
    truth: np.ndarray
    systems: dict[str, np.ndarray]

    def select(self, clips: list[str]) -> "LabelledSet":
        """Return the set of the given clips, in the given order."""
        rows = pd.Index(self.clips).get_indexer(clips)
        return LabelledSet(clips, self.truth[rows], {name: scores[rows] for name, scores in self.systems.items()})


def gather(predictions: Predictions, *, part: str) -> Gathered:
    """Collect the scores of one part by member, and average each member's folds.

    Args:
        predictions: Predictions of one or more members. All members must have predicted the same clips of this part.
        part: "validation", "test" or "disturbance".
    """
    chosen = (predictions.rows["part"] == part).to_numpy()
    rows = predictions.rows[chosen]
    members = rows["member"].astype(str).drop_duplicates().tolist()
    clips = rows["clip"].drop_duplicates().tolist()
    member = pd.Index(members).get_indexer(rows["member"].astype(str))
    clip = pd.Index(clips).get_indexer(rows["clip"])
    # A clip has one row per member and fold: add its scores up, and count its rows.
    totals = np.zeros((len(members), len(clips), len(predictions.classes)))
    counts = np.zeros((len(members), len(clips), 1))
    np.add.at(totals, (member, clip), predictions.scores[chosen])
    np.add.at(counts, (member, clip), 1)
    assert counts.all(), "the members predicted different clips"
    return Gathered(members, clips, predictions.classes, (totals / counts).astype(np.float32))


def check_predictions(path: Path, predictions: Predictions, spectrograms: Path) -> pd.DataFrame:
    """Check that predictions are of the clips and classes of a folder of spectrograms.

    Args:
        path: Where the predictions are from, for the message.
        predictions: The predictions of all test clips and of some or all curated clips.
        spectrograms: The folder of shards.

    Returns:
        The table of clips of the spectrograms.

    Raises:
        UserError: If the classes or clips differ.
    """
    clips, rows = read_clips(spectrograms), predictions.rows
    curated, test, made = (set(clips["clip"][clips["part"] == part]) for part in ("curated", "test", "disturbance"))
    validation, tested, scored = (set(rows["clip"][rows["part"] == part]) for part in PARTS)
    for what, is_right in (
        ("classes", predictions.classes == read_classes(spectrograms)),
        ("test clips", tested == test),
        ("curated clips", validation <= curated),
        ("disturbances", scored == made),
    ):
        if not is_right:
            raise UserError(
                f"{path}: expected predictions of the {what} of {spectrograms}, found others; use the predictions and "
                "the spectrograms of the same run"
            )
    return clips


def labelled_sets(predictions: Predictions, clips: pd.DataFrame, *, negatives: bool = False) -> dict[str, LabelledSet]:
    """Return the sets of clips that can be scored.

    Args:
        predictions: The predictions of the ensemble and its members.
        clips: The table of clips that belongs to the spectrograms.
        negatives: Whether clips in which nothing is to be tagged belong to them. They have no part in lwlrap.

    Returns:
        The sets that contain at least one clip, in the order of `SETS`. "all", "public" and "private" hold test clips;
        "out_of_fold" holds the clips of `out_of_fold_set`.
    """
    labelled = _known(clips, part="test", negatives=negatives)
    chosen = {
        "all": labelled,
        "public": labelled[labelled["usage"] == "Public"],
        "private": labelled[labelled["usage"] == "Private"],
    }
    gathered = gather(predictions, part="test")
    sets = {name: _labelled_set(gathered, table) for name, table in chosen.items()}
    sets["out_of_fold"] = out_of_fold_set(predictions, clips, negatives=negatives)
    return {name: sets[name] for name in SETS if sets[name].truth.any()}


def negative_set(predictions: Predictions, clips: pd.DataFrame) -> LabelledSet:
    """Return the clips in which nothing is to be tagged, and that no member was trained on.

    Args:
        predictions: The predictions of the ensemble and its members.
        clips: The table of clips that belongs to the spectrograms.
    """
    negatives = clips[clips["usage"] == NEGATIVE]
    sets = [
        _labelled_set(gather(predictions, part=part), negatives[negatives["part"] == name].set_index("clip"))
        for part, name in (("validation", "curated"), ("test", "test"))
    ]
    found = [each for each in sets if each.clips] or sets[:1]
    systems = {name: np.concatenate([each.systems[name] for each in found]) for name in found[0].systems}
    return LabelledSet(
        [clip for each in found for clip in each.clips], np.concatenate([each.truth for each in found]), systems
    )


def out_of_fold_set(predictions: Predictions, clips: pd.DataFrame, *, negatives: bool = False) -> LabelledSet:
    """Return the curated clips that were scored by models that were not trained on them, with the labels that count.

    A label does not count if these models were not trained on any clip with it, and a clip does not if it has no other.

    Args:
        predictions: The predictions of the ensemble and its members, or of the members alone.
        clips: The table of clips that belongs to the spectrograms.
        negatives: Whether clips in which nothing is to be tagged belong to it.
    """
    counting = clips.assign(
        labels=[[name for name in names if name not in predictions.unheard] for names in clips["labels"]]
    )
    known = _known(counting, part="curated", negatives=negatives)
    return _labelled_set(gather(predictions, part="validation"), known)


def _known(clips: pd.DataFrame, *, part: str, negatives: bool) -> pd.DataFrame:
    """Return the clips of a part of which it is known what is to be tagged."""
    known = clips["labels"].str.len() > 0
    if negatives:
        known |= clips["usage"] == NEGATIVE
    return clips[known & (clips["part"] == part)].set_index("clip")


def disturbance_set(predictions: Predictions, clips: pd.DataFrame) -> LabelledSet:
    """Return the disturbances. Their labels are the classes that are right for them, which most have none of.

    Args:
        predictions: The predictions of the ensemble and its members.
        clips: The table of clips that belongs to the spectrograms.
    """
    made = clips[clips["part"] == "disturbance"].set_index("clip")
    return _labelled_set(gather(predictions, part="disturbance"), made)


def _labelled_set(gathered: Gathered, labelled: pd.DataFrame) -> LabelledSet:
    keep = np.flatnonzero(pd.Index(gathered.clips).isin(labelled.index))
    clips = [gathered.clips[clip] for clip in keep]
    truth = label_table(labelled.loc[clips, "labels"].tolist(), gathered.classes)
    return LabelledSet(clips, truth, dict(zip(gathered.members, gathered.scores[:, keep], strict=True)))
