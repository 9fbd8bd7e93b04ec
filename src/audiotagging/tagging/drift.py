"""Compares a batch of tagged sounds with the champion's test clips, to notice without labels that it is out of date.

Comparing the scores of the classes one by one follows Rabanser et al. ("Failing loudly", NeurIPS 2019), who found that
this needs the fewest samples to notice a shift.

Without labels, nobody knows how good the tags of a batch are. Two things show that they are no longer to be relied on.
One is that the members agree less. Their agreement is the lwlrap that a member would have if the best tag of another
member were the only label (Jiang et al., "Assessing generalization of SGD via disagreement", ICLR 2022, on the error of
classifiers). But members that were trained on the same clips make the same mistakes: through a telephone, they agree on
wrong tags. The other sign is therefore that the recordings differ and that other tags are the best ones too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from audiotagging.artifacts.acoustics import Acoustics
from audiotagging.artifacts.acoustics_table import ACOUSTICS, read_acoustics
from audiotagging.artifacts.ensemble_folder import ENSEMBLE, PREDICTIONS, read_ensemble
from audiotagging.base.errors import UserError, in_one_line
from audiotagging.base.files import path_text
from audiotagging.base.wording import pluralize
from audiotagging.statistics.two_samples import Difference, Moved, difference_of, moved_tags
from audiotagging.tagging.tagger import Tagged

LOST = 0.1  # fall of the members' agreement, in lwlrap, from which on tags are not to be relied on
USUAL = (1.0, 99.0)  # percentiles of the test clips between which a file is like them
NAMED = 10  # files, and classes


class NoTestClipsError(UserError):
    """Raised for an ensemble that has no test clips to compare with."""


@dataclass(frozen=True)
class Sounds:
    """Sounds that an ensemble has scored.

    Attributes:
        names: Their names.
        scores: Scores of the ensemble, shape (sounds, classes).
        member_scores: Scores of its members, shape (members, sounds, classes).
        acoustics: One row per sound with the fields of `Acoustics`, or None if they were not measured.
    """

    names: list[str]
    scores: np.ndarray
    member_scores: np.ndarray
    acoustics: pd.DataFrame | None


@dataclass(frozen=True)
class Quantity:
    """What is compared.

    Attributes:
        text: What it is, with its unit.
        low: What is said of a file in which it is unusually low. "" if that is no reason to look at the file.
        high: What is said of a file in which it is unusually high.
    """

    text: str
    low: str = ""
    high: str = ""


AGREEMENT, CONFIDENCE = "agreement", "confidence"
QUANTITIES = {
    "level": Quantity("level in dB", "low level", "high level"),
    "low": Quantity("lower end of the band in Hz", "much at low frequencies", "nothing at low frequencies"),
    "high": Quantity("upper end of the band in Hz", "narrow band", "wide band"),
    "hum": Quantity("hum in dB", high="hum"),
    CONFIDENCE: Quantity("highest score of a file", low="low scores"),
    AGREEMENT: Quantity("agreement of the members in lwlrap", low="members disagree"),
}
OF_SCORES = (CONFIDENCE, AGREEMENT)  # their means are compared, because many are 1; of the others, the medians


@dataclass(frozen=True)
class Unusual:
    """A file that differs from the test clips.

    Attributes:
        file: Its name.
        why: What is unusual, most unusual first.
    """

    file: str
    why: list[str]


@dataclass(frozen=True)
class Drift:
    """The comparison of a batch with the champion's test clips.

    Attributes:
        verdict: "retrain", "look" or "fine".
        reasons: Why, and what was not compared, in sentences.
        files: Number of files in the batch.
        clips: Number of test clips.
        quantities: The differences by quantity, a key of `QUANTITIES`.
        classes: The differences of the scores by class.
        best_tags: The difference of the best tags.
        unusual: The files that differ most from the test clips, most unusual first.
    """

    verdict: str
    reasons: list[str]
    files: int
    clips: int
    quantities: dict[str, Difference]
    classes: dict[str, Difference]
    best_tags: Moved
    unusual: list[Unusual]

    def lines(self) -> list[str]:
        """Return the comparison as lines of text."""
        lines = [f"{self.verdict}: {pluralize(self.files, 'file')} compared with {pluralize(self.clips, 'test clip')}"]
        lines += [f"  {reason}" for reason in self.reasons]
        if self.unusual:
            named = "; ".join(f"{in_one_line(each.file)} ({', '.join(each.why)})" for each in self.unusual)
            lines.append(f"  The files that differ most: {named}.")
        return lines


def collect(files: Iterable[Tagged]) -> Sounds:
    """Collect files that could be read, at least one."""
    names, scores, members, acoustics = [], [], [], []
    for file in files:
        assert file.scores is not None and file.member_scores is not None and file.acoustics is not None
        names.append(path_text(file.path))
        scores.append(file.scores)
        members.append(file.member_scores)
        acoustics.append(file.acoustics)
    return Sounds(names, np.array(scores), np.array(members).swapaxes(0, 1), pd.DataFrame(acoustics))


def read_test_clips(folder: Path) -> tuple[Sounds, list[str]]:
    """Read what an ensemble scored its test clips with.

    Args:
        folder: A version in a champions folder, or the output of a run.

    Returns:
        The test clips, and the classes.

    Raises:
        NoTestClipsError: If the folder has no predictions of test clips.
        UserError: If a file is corrupt.
    """
    if not (folder / PREDICTIONS).exists():
        raise NoTestClipsError(
            f"{folder}: expected a champion or the output of a run with {PREDICTIONS} in it, to compare with its test "
            "clips, found none; name the folder of the run, not its models"
        )
    predictions, averaging = read_ensemble(folder)
    rows = predictions.rows
    of_test = (rows["part"] == "test").to_numpy()
    names = sorted(rows["clip"][of_test].unique())
    if not names:
        raise NoTestClipsError(
            f"{folder}: expected predictions of test clips to compare with, found none; train with test clips, for "
            "example by --test-share 0.2"
        )

    def scores_of(member: str) -> np.ndarray:
        places = np.flatnonzero(of_test & (rows["member"] == member).to_numpy())
        return predictions.scores[places[np.argsort(rows["clip"].to_numpy()[places])]]

    members = np.stack([scores_of(member) for member in averaging.weights])
    acoustics = read_acoustics(folder)
    if acoustics is None:
        acoustics = read_acoustics(folder / "spectrograms")
    if acoustics is not None:
        acoustics = acoustics[acoustics["part"] == "test"].set_index("clip").reindex(names).reset_index(drop=True)
    return Sounds(names, scores_of(ENSEMBLE), members, acoustics), predictions.classes


def compare(batch: Sounds, test: Sounds, *, classes: list[str]) -> Drift:
    """Compare a batch with the test clips.

    Args:
        batch: The batch, of at least one file.
        test: The test clips.
        classes: The classes, in the order of the scores.

    Returns:
        The comparison. Its verdict is "retrain" if the members agree less, by `LOST` or more, or if the recordings and
        the best tags differ; "look" if anything else differs; and "fine" otherwise.
    """
    values, usual = _quantities(batch), _quantities(test)
    compared = [name for name in values if name in usual]
    tests = len(compared) + 2  # the scores of the classes, and the best tags
    quantities = {
        name: difference_of(values[name], usual[name], tests=tests, mean=name in OF_SCORES) for name in compared
    }
    of_classes = {
        label: difference_of(batch.scores[:, place], test.scores[:, place], tests=tests * len(classes), mean=True)
        for place, label in enumerate(classes)
    }
    best_tags = moved_tags(batch.scores.argmax(axis=1), test.scores.argmax(axis=1), tests=tests)
    unusual = _unusual(batch.names, values, usual, quantities)
    reasons = [*_reasons(quantities, of_classes, best_tags), *_left_out(test)]
    return Drift(
        _verdict(quantities, of_classes, best_tags),
        reasons,
        len(batch.names),
        len(test.names),
        quantities,
        of_classes,
        best_tags,
        unusual,
    )


def _verdict(quantities: Mapping[str, Difference], classes: Mapping[str, Difference], best_tags: Moved) -> str:
    agreement = quantities.get(AGREEMENT)
    disagree = agreement and agreement.differs and agreement.test - agreement.batch >= LOST
    recordings_differ = any(quantities[name].differs for name in Acoustics._fields if name in quantities)
    if disagree or (recordings_differ and best_tags.differs):
        return "retrain"
    if best_tags.differs or any(each.differs for each in (*quantities.values(), *classes.values())):
        return "look"
    return "fine"


def agreement_of(member_scores: np.ndarray) -> np.ndarray:
    """Return how well the members of an ensemble agree on every sound.

    Args:
        member_scores: Shape (members, sounds, classes), at least two members.

    Returns:
        The mean over all ordered pairs of members of 1 / the rank that the one gives to the best tag of the other. It
        is 1 where all have the same best tag. Shape (sounds,).

    Examples:
        The second member ranks the best tag of the first third, and the first ranks that of the second second:

        >>> agreement_of(np.array([[[0.9, 0.5, 0.1]], [[0.2, 0.8, 0.7]]])).round(3)
        array([0.417])
    """
    best = member_scores.argmax(axis=2)
    members = range(len(member_scores))
    ranks = [
        1 + (member_scores[one] > np.take_along_axis(member_scores[one], best[other][:, None], axis=1)).sum(axis=1)
        for one in members
        for other in members
        if one != other
    ]
    return (1 / np.array(ranks)).mean(axis=0)


def _quantities(sounds: Sounds) -> dict[str, np.ndarray]:
    """Return the quantities of sounds by their names, each of shape (sounds,)."""
    values = {}
    if sounds.acoustics is not None:
        # As they are stored, so that equal values are equal.
        values = {name: sounds.acoustics[name].to_numpy(np.float32) for name in Acoustics._fields}
    values[CONFIDENCE] = sounds.scores.max(axis=1)
    if len(sounds.member_scores) > 1:
        values[AGREEMENT] = agreement_of(sounds.member_scores)
    return values


def _reasons(quantities: Mapping[str, Difference], classes: Mapping[str, Difference], best_tags: Moved) -> list[str]:
    """Return what differs, one sentence per quantity, one for the best tags, and one for all classes."""
    reasons = [
        f"The {QUANTITIES[name].text} is {_direction(each)}: {each.batch:.4g} instead of {each.test:.4g}, and "
        f"{_direction(each)} in {max(each.above, 1 - each.above):.0%} of pairs."
        for name, each in quantities.items()
        if each.differs
    ]
    if best_tags.differs:
        reasons.append(
            f"The best tags differ: those of {best_tags.share:.0%} of the files would have to change to be as frequent "
            f"as in test clips, {best_tags.chance:.0%} by chance."
        )
    different = [(label, each) for label, each in classes.items() if each.differs]
    different.sort(key=lambda item: -abs(item[1].above - 0.5))
    if different:
        named = ", ".join(f"{in_one_line(label)} ({_direction(each)})" for label, each in different[:NAMED])
        more = f" and {len(different) - NAMED} more" if len(different) > NAMED else ""
        reasons.append(f"The scores of classes differ: {named}{more}.")
    return reasons


def _direction(difference: Difference) -> str:
    return "higher" if difference.above > 0.5 else "lower"


def _left_out(test: Sounds) -> list[str]:
    """Return what was not compared, and why."""
    left_out = []
    if test.acoustics is None:
        left_out.append(
            f"Level, band and hum were not compared: there is no {ACOUSTICS}, because an earlier version trained this."
        )
    if len(test.member_scores) < 2:
        left_out.append("Agreement was not compared: there is one member. Without it, the verdict is never retrain.")
    return left_out


def _unusual(
    names: list[str],
    values: Mapping[str, np.ndarray],
    usual: Mapping[str, np.ndarray],
    differences: Mapping[str, Difference],
) -> list[Unusual]:
    """Return the files that differ most from the test clips, those farthest from their median first.

    The unit is the distance of the median from the percentile `USUAL`. A file must be as far as that. Where the whole
    batch differs, it is enough to be farther in this direction than three quarters of the test clips.
    """
    found: dict[int, list[tuple[float, str]]] = {}
    for name, difference in differences.items():
        lowest, lower, median, upper, highest = np.percentile(usual[name], [USUAL[0], 25, 50, 75, USUAL[1]])
        lower_differs, higher_differs = (
            difference.differs and _direction(difference) == where for where in ("lower", "higher")
        )
        for end, limit, why in (
            (lowest, lower if lower_differs else lowest, QUANTITIES[name].low),
            (highest, upper if higher_differs else highest, QUANTITIES[name].high),
        ):
            if why and end != median:
                far = (values[name] - median) / (end - median)
                for place in np.flatnonzero(far > (limit - median) / (end - median)):
                    found.setdefault(int(place), []).append((float(far[place]), why))
    farthest = sorted(found, key=lambda place: -max(found[place])[0])
    return [Unusual(names[place], [why for _, why in sorted(found[place], reverse=True)]) for place in farthest[:NAMED]]
