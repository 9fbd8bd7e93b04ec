"""What is read of `scores.json`, which `audiotagging.report.evaluate` writes and describes."""

from typing import NotRequired, TypedDict

from audiotagging.artifacts.champions_folder import Decision, Event

SCORES_FILE = "scores.json"


class Estimate(TypedDict):
    """A score and its 95 % interval."""

    score: float
    low: float
    high: float


class Compared(Estimate):
    """The score of a system, and by how much the ensemble is better."""

    difference: float
    difference_low: float
    difference_high: float


class Estimates(TypedDict):
    """The estimates on one set of clips."""

    clips: int
    chance: float
    ensemble: Estimate
    members: dict[str, Compared]
    linear: NotRequired[dict[str, Compared]]
    baseline: NotRequired[dict[str, Compared]]


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


class RunMetadata(TypedDict):
    """The fingerprints of the data that the members were trained on."""

    fingerprints: list[str]


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
        corrected: Number of curated clips that have other labels now.
        left_out: Number of curated clips that were there only before.
        rest_is_same: Whether the members, folds and seeds and all other clips to train on are the same.
    """

    set: str
    clips: int
    score: float
    before: float
    difference: float
    difference_low: float
    difference_high: float
    corrected: int
    left_out: int
    rest_is_same: bool


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

    members: dict[str, dict[str, float]]
    run: RunMetadata
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
    calibration: NotRequired[Calibrated]
    thresholds: NotRequired[Thresholds]
    suspicious: NotRequired[int]
    baseline: NotRequired[str]
    linear: NotRequired[dict[str, float]]
