"""The file `scores.json`, which `audiotagging.report.evaluate` writes, and the types of what is read of it.

It holds every number that the report shows:

* `version`: `SCHEMA_VERSION`, which grows when something that is read changes its meaning.
* `ensemble`, `members`: lwlrap on each set of labelled clips. The sets are "all", "public" and "private" (test clips)
  and "out_of_fold" (curated clips).
* `mean_average_precision`: the mAP (macro) of the ensemble and of every member on each of these sets.
* `estimates`: for each set, the same scores with 95 % intervals, their differences from the ensemble, the score of the
  ensemble `without` each member, and the scores of a `linear` model and of a `baseline`; and the lwlrap of random
  scores, `chance`.
* `baseline`: the path of the baseline, if there is one.
* `linear`: the lwlrap of a linear model of the same clips and folds, which networks have to beat, on each set.
* `scored`: the set that `classes`, `worst` and `confusions` describe: all test clips if they have labels, else the
  out-of-fold clips.
* `classes`: the score of each class, with its interval, and what `intervals.describe_classes` says of it.
* `worst`, `confusions`: the clips whose labels the ensemble ranks worst, and the classes that it confuses. The clips in
  these and in `classes` have their length in `seconds`, without the silence at both ends, and, if they have an excerpt
  to listen to, what is `heard` of them: from which second to which.
* `calibration`, `thresholds`: how far the probabilities and thresholds can be trusted
  (`audiotagging.evaluation.reliability`), if folds were held out.
* `disturbances`: the best wrong tags of silence, noise, hum, clicks and quiet ends, and how many of them per minute
  reach the thresholds (`audiotagging.evaluation.reliability`).
* `suspicious`: the number of curated clips whose labels may be wrong (`audiotagging.evaluation.mistakes`), if folds
  were held out.
* `similarity`, `trained`, `data`, `selection`, `run`: facts about the members, their training data and their versions.
  There is no `similarity` if nothing was predicted.
* `promotion`: the decision on whether the ensemble becomes the champion, if a champions folder was given
  (`audiotagging.champions.promotion`); `champions`: the history of the champions, at most `EVENTS` events of it.
* `before`: the comparison with the run before, if one was given (`audiotagging.evaluation.previous_run`).
* `origin`: the command line of the run, when it ran, and what each stage cost (`run_metadata.summarise_origin`).
"""

from pathlib import Path
from typing import NotRequired, TypedDict

from audiotagging.artifacts.champions_folder import Decision, Event
from audiotagging.base.errors import UserError
from audiotagging.base.typed_json import read_json
from audiotagging.statistics.intervals import Compared, Estimate

SCORES_FILE = "scores.json"
SCHEMA_VERSION = 1


class Estimates(TypedDict):
    """The estimates on one set of clips."""

    clips: int
    chance: float
    ensemble: Estimate
    members: dict[str, Compared]
    linear: NotRequired[dict[str, Compared]]
    baseline: NotRequired[dict[str, Compared]]


class ClassScore(Estimate):
    """The lwlrap and the average precision of the ensemble for a class, on the set of clips that `scored` names."""

    label: str
    clips: int
    average_precision: float


class Kind(TypedDict):
    """The lwlrap of calibrated or of uncalibrated scores."""

    lwlrap: float


class Calibrated(TypedDict):
    """Whether the submission holds calibrated scores, and for each set of clips what that changes."""

    submitted: bool
    sets: dict[str, dict[str, Kind]]


class Observed(TypedDict):
    """What the tags that pass the thresholds keep on one set of clips."""

    tags: int
    recall: float
    precision: NotRequired[float]
    low: NotRequired[float]
    high: NotRequired[float]


class Promise(TypedDict):
    """A promised precision, and the number of classes with and without a threshold for it."""

    promised: float
    classes: int
    missing: int
    sets: dict[str, Observed]


class Thresholds(TypedDict):
    """The promises that can be made."""

    promises: list[Promise]


class Selection(TypedDict):
    """The noisy clips that the members were trained on."""

    clips: list[str]


class Before(TypedDict):
    """A comparison with the run before, on the clips that both predicted and with their labels of now.

    Attributes:
        set: The clips: "all" (test clips) or "out_of_fold" (curated clips).
        clips: Number of these clips.
        score: Lwlrap of the ensemble.
        before: Lwlrap of the ensemble before.
        difference: The difference between the two.
        difference_low: Lower end of its 95 % interval.
        difference_high: Upper end of its 95 % interval.
        changes: What changed since then in the data and settings, one phrase each.
        corrected: Of earlier versions: number of curated clips that have other labels now.
        left_out: Of earlier versions: number of curated clips that were there only before.
    """

    set: str
    clips: int
    score: float
    before: float
    difference: float
    difference_low: float
    difference_high: float
    changes: NotRequired[list[str]]
    corrected: NotRequired[int]
    left_out: NotRequired[int]


class StageCost(TypedDict):
    """What a stage cost (`audiotagging.base.machine`)."""

    stage: str
    started: str
    seconds: float
    cpu_seconds: float
    peak_bytes: float


class OriginSummary(TypedDict):
    """Where a run came from, and what it cost (`audiotagging.evaluation.run_metadata.summarise_origin`)."""

    command: str
    started: str
    finished: str
    seconds: float
    cpu_seconds: float
    gpu_seconds: float
    peak_bytes: float
    stages: list[StageCost]


class EnsembleScores(TypedDict):
    """The lwlrap of the ensemble by set of clips."""

    ensemble: dict[str, float]


class StoredScores(EnsembleScores):
    """What earlier versions wrote too."""

    version: NotRequired[int]
    members: dict[str, dict[str, float]]
    selection: Selection
    promotion: NotRequired[Decision]
    champions: NotRequired[list[Event]]
    before: NotRequired[Before]
    origin: NotRequired[OriginSummary]


class Scores(StoredScores):
    """What is printed when a run is done."""

    mean_average_precision: dict[str, dict[str, float]]
    estimates: dict[str, Estimates]
    scored: NotRequired[str]
    classes: NotRequired[list[ClassScore]]
    calibration: NotRequired[Calibrated]
    thresholds: NotRequired[Thresholds]
    suspicious: NotRequired[int]
    baseline: NotRequired[str]
    linear: NotRequired[dict[str, float]]


def read_scores(path: Path) -> Scores:
    """Read `scores.json`.

    Raises:
        UserError: If it is corrupt, or if a system has no mAP on a set on which it has an lwlrap.
    """
    scores = read_json(path, Scores)
    for system, found in (scores["members"] | {"ensemble": scores["ensemble"]}).items():
        precisions = scores["mean_average_precision"].get(system, {})
        if precisions.keys() != found.keys():
            raise UserError(
                f"{path}: expected the mAP of {system} on {', '.join(found) or 'no set'}, as its lwlrap, found it on "
                f"{', '.join(precisions) or 'none'}; run `audiotagging evaluate` again"
            )
    return scores
