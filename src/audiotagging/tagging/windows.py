"""Tags every window of a sound file, at memory that does not grow with the length of the file."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from audiotagging.artifacts.averaging import Averaging
from audiotagging.artifacts.calibration import calibrate
from audiotagging.base.errors import UserError
from audiotagging.base.progress import track
from audiotagging.sounds.audio import RATE, Source, decode_blocks, duration
from audiotagging.sounds.spectrogram import clip_spectrogram
from audiotagging.tagging.tagger import in_batches

Choose = Callable[[np.ndarray], list[tuple[str, float]]]


def choice(classes: Sequence[str], averaging: Averaging, *, top: int, precision: float | None = None) -> Choose:
    """Return a function from the scores of a sound, shape (classes,), to its tags: labels with scores, best first.

    Args:
        classes: The classes, in the order of the scores.
        averaging: What the scores mean.
        top: The largest number of tags.
        precision: Only tags that this precision is promised for, with calibrated scores. None for the best tags.

    Raises:
        UserError: If there is a precision, and the scores are not calibrated.

    Examples:
        >>> averaging = Averaging("arithmetic", {"member": 1.0})
        >>> choice(["Bark", "Meow", "Rain"], averaging, top=2)(np.array([0.25, 0.75, 0.5]))
        [('Meow', 0.75), ('Rain', 0.5)]
    """
    top = min(top, len(classes))
    if precision is None:
        return lambda scores: [(classes[number], float(scores[number])) for number in islice(_best(scores), top)]
    if averaging.calibration is None:
        raise UserError(
            "precision: expected an ensemble with calibrated scores, found uncalibrated ones; train with --folds "
            "0,1,2,3,4, or omit the precision"
        )
    curves = [averaging.calibration.curves[label] for label in classes]
    found = averaging.lowest_scores(precision)
    lowest = np.array([found.get(label, np.inf) for label in classes])

    def choose(scores: np.ndarray) -> list[tuple[str, float]]:
        (probabilities,) = calibrate(scores[None], curves)
        passed = (number for number in _best(probabilities) if scores[number] >= lowest[number])
        return [(classes[number], float(probabilities[number])) for number in islice(passed, top)]

    return choose


def never_chosen(classes: Sequence[str], averaging: Averaging, precision: float) -> list[str]:
    """Return the classes that no threshold promises a precision for."""
    found = averaging.lowest_scores(precision)
    return [label for label in classes if label not in found]


def _best(scores: np.ndarray) -> Iterator[int]:
    """Yield the numbers of all classes, best first."""
    return map(int, np.argsort(-scores, kind="stable"))


WINDOW_SECONDS = (0.1, 60.0)  # shortest and longest window; longer ones would take too much memory
MOST_OVERLAP = 0.9  # of a window; more would score the same sound more than ten times


@dataclass(frozen=True)
class Tag:
    """A label of a part of a sound.

    Attributes:
        start: Where the part begins, in seconds from the beginning of the file.
        end: Where it ends.
        label: The label.
        score: Its score.
    """

    start: float
    end: float
    label: str
    score: float


def check_windows(*, every: float, overlap: float, every_is: str = "every", overlap_is: str = "overlap") -> None:
    """Check the length of windows and their overlap, both in seconds.

    Args:
        every: Length of a window.
        overlap: How much of a window the next window covers too.
        every_is: What messages call the length.
        overlap_is: What messages call the overlap.

    Raises:
        UserError: If there cannot be such windows.
    """
    shortest, longest = WINDOW_SECONDS
    if not shortest <= every <= longest:
        raise UserError(f"{every_is}: expected {shortest:g} to {longest:g} seconds, found {every:g}")
    if not 0 <= overlap <= MOST_OVERLAP * every:
        raise UserError(
            f"{overlap_is}: expected 0 to {MOST_OVERLAP * every:g} seconds for windows of {every:g} seconds, "
            f"found {overlap:g}"
        )


def windows(source: Source, *, every: float, overlap: float = 0.0) -> Iterator[tuple[float, float, np.ndarray]]:
    """Cut a sound file into windows of the same length.

    The last window ends with the file, so it overlaps the one before it by more than the others do. A file that is
    shorter than a window is one window.

    Args:
        source: Any sound: a path, or an open binary file.
        every: Length of a window in seconds.
        overlap: How many seconds of a window the next window covers too, less than `every`.

    Yields:
        Start and end of the window in seconds, and its samples: mono, 44 100 Hz, float32, shape (samples,).

    Raises:
        SoundError: If the file cannot be decoded. Windows may have been yielded before.
    """
    length, hop = round(every * RATE), round((every - overlap) * RATE)
    buffer = np.empty(0, np.float32)  # from the start of the last window on, because the end may need its samples
    first = start = end = 0  # samples: start of the buffer, start of the next window, end of the last window
    for block in decode_blocks(source):
        buffer = np.concatenate([buffer, block])
        while first + len(buffer) >= start + length:
            buffer = buffer[start - first :]
            first, end = start, start + length
            yield first / RATE, end / RATE, buffer[:length]
            start += hop
    missing = first + len(buffer) - end
    if missing:
        samples = buffer[-length:]
        end += missing
        yield (end - len(samples)) / RATE, end / RATE, samples


def count_windows(source: Source, *, every: float, overlap: float = 0.0) -> int:
    """Return the number of windows of a sound file, from its duration.

    Raises:
        SoundError: If the file cannot be decoded or has no samples.
    """
    length, hop = round(every * RATE), round((every - overlap) * RATE)
    return 1 + max(0, math.ceil((round(duration(source) * RATE) - length) / hop))


def score_windows(
    score: Callable[[list[np.ndarray]], np.ndarray],
    source: Source,
    *,
    every: float,
    overlap: float = 0.0,
    label: str | None = None,
) -> Iterator[tuple[float, float, np.ndarray]]:
    """Score the windows of a sound file, each as if it were a clip. Silent windows are left out.

    Args:
        score: Scores spectrograms, as `Tagger.score` does.
        source: Any sound: a path, or an open binary file.
        every: Length of a window in seconds.
        overlap: How many seconds of a window the next window covers too, less than `every`.
        label: Name of the work, to show next to its progress. None shows no progress.

    Yields:
        Start and end of the window in seconds, and its scores, float32, shape (classes,).

    Raises:
        SoundError: If the file cannot be decoded. Windows may have been yielded before.
    """
    for batch in window_batches(source, every=every, overlap=overlap, label=label):
        scores = score([spectrogram for *_, spectrogram in batch])
        for (start, end, _), window_scores in zip(batch, scores, strict=True):
            yield start, end, window_scores


def window_batches(
    source: Source, *, every: float, overlap: float = 0.0, label: str | None = None
) -> Iterator[list[tuple[float, float, np.ndarray]]]:
    """Yield start, end and spectrogram of the windows of a sound file, as many as are scored at once.

    Silent windows are left out. The arguments are those of `score_windows`.

    Raises:
        SoundError: If the file cannot be decoded. Windows may have been yielded before.
    """
    found = windows(source, every=every, overlap=overlap)
    if label:
        found = track(found, label=label, total=count_windows(source, every=every, overlap=overlap))
    spectrograms = ((start, end, clip_spectrogram(samples)) for start, end, samples in found)
    return in_batches((each for each in spectrograms if each[2].any()), frames=lambda each: len(each[2]))


def tag_windows(
    score: Callable[[list[np.ndarray]], np.ndarray],
    choose: Choose,
    source: Source,
    *,
    every: float,
    overlap: float = 0.0,
    merged: bool = False,
    label: str | None = None,
) -> Iterator[Tag]:
    """Tag the windows of a sound file.

    Args:
        score: Scores spectrograms, as `Tagger.score` does.
        choose: Chooses the tags of a window.
        source: Any sound: a path, or an open binary file.
        every: Length of a window in seconds.
        overlap: How many seconds of a window the next window covers too, less than `every`.
        merged: Whether tags of neighbouring windows with the same label are merged.
        label: Name of the work, to show next to its progress. None shows no progress.

    Raises:
        SoundError: If the file cannot be decoded. Tags may have been yielded before.
    """
    scored = score_windows(score, source, every=every, overlap=overlap, label=label)
    tags = (Tag(start, end, label, score) for start, end, scores in scored for label, score in choose(scores))
    return merge(tags) if merged else tags


def merge(tags: Iterable[Tag]) -> Iterator[Tag]:
    """Merge tags of the same label that touch or overlap into one, with their highest score.

    Args:
        tags: The tags of one file, sorted by their starts.

    Yields:
        The merged tags, sorted by their ends. At most one tag of each label is in memory.

    Examples:
        >>> tags = [Tag(0, 2, "Bark", 0.5), Tag(2, 4, "Bark", 0.9), Tag(2, 4, "Meow", 0.3), Tag(6, 8, "Bark", 0.4)]
        >>> for tag in merge(tags):
        ...     print(tag)
        Tag(start=0, end=4, label='Bark', score=0.9)
        Tag(start=2, end=4, label='Meow', score=0.3)
        Tag(start=6, end=8, label='Bark', score=0.4)
    """
    unfinished: dict[str, Tag] = {}

    def finish(before: float) -> Iterator[Tag]:
        finished = [tag for tag in unfinished.values() if tag.end < before]
        for tag in sorted(finished, key=lambda tag: tag.end):
            yield unfinished.pop(tag.label)

    for tag in tags:
        yield from finish(tag.start)
        if known := unfinished.get(tag.label):
            tag = replace(known, end=tag.end, score=max(known.score, tag.score))
        unfinished[tag.label] = tag
    yield from finish(np.inf)
