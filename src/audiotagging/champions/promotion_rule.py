"""The rule by which a candidate takes the champion's place, as pure functions of a comparison.

A gate that compares every candidate with the champion before it, and lets through what is not clearly worse, slides: a
row of candidates, each slightly worse than the one before, walks down without end. This gate cannot:

* Every candidate is compared with the best champion so far. The lower end of the 95 % interval of the difference must
  lie above `-margin`, as in a trial of non-inferiority, so more clips make a candidate's way easier and fewer harder.
* Its estimate must not lie more than the margin below that of any champion since then (`peak`). Otherwise the row could
  fall from a champion that seems to be better than the best one, without its interval showing that.
* Only a candidate that is better (its interval lies above 0) becomes the best champion.
"""

import math
from typing import Literal, NamedTuple, get_args

from audiotagging.artifacts.champions_folder import Comparison, Verdict

MARGIN = 0.01  # lwlrap
Policy = Literal["better", "not-worse", "never"]
POLICIES = get_args(Policy)
FORESEEABLE = 100.0  # times as many clips; beyond that, nobody can say how many would decide


class Outcome(NamedTuple):
    """What the rule says of a candidate.

    Attributes:
        verdict: The outcome of the comparison.
        passes: Whether the candidate takes the champion's place.
        reason: Why, in one or two sentences.
        more_clips: How many more labelled clips would decide, if it is undecided and that can be said.
    """

    verdict: Verdict
    passes: bool
    reason: str
    more_clips: int | None = None


def decide(
    comparison: Comparison,
    *,
    margin: float = MARGIN,
    peak: float = 0.0,
    policy: str = "not-worse",
    obstacle: str = "",
) -> Outcome:
    """Decide whether a candidate takes the champion's place.

    Args:
        comparison: The comparison with the best champion.
        margin: The lwlrap that a champion may lose.
        peak: The highest difference from the best champion that one of the champions since then had, at least 0.
        policy: One of `POLICIES`: which candidates are promoted.
        obstacle: What prevents its promotion, whatever the comparison says, as a sentence.
    """
    verdict = judge(comparison, margin=margin)
    more = more_clips(comparison, margin=margin) if verdict == "undecided" else None
    phrases = {
        "better": "better than the best champion",
        "not worse": "not worse than the best champion",
        "worse": f"worse than the best champion by more than {margin:g}",
        "undecided": f"perhaps worse than the best champion by more than {margin:g}",
    }
    if verdict == "undecided" and more is not None:
        obstacle = f"About {more} more labelled clips would decide."
    elif verdict in ("worse", "undecided"):
        obstacle = ""
    elif policy == "better" and verdict == "not worse":
        obstacle = obstacle or "Only a better one is promoted."
    elif comparison["difference"] < peak - margin:
        obstacle = obstacle or f"A champion since then had a difference of {peak:+.4f}."
    if policy == "never":
        obstacle = f"{obstacle} None is promoted by itself.".strip()
    passes = verdict in ("better", "not worse") and not obstacle
    reason = (
        f"{'Promoted' if passes else 'Not promoted'}: {phrases[verdict]}, with an lwlrap of {comparison['score']:.4f} "
        f"against {comparison['champion']:.4f} on {comparison['clips']} clips (difference "
        f"{comparison['difference']:+.4f}, 95 % interval {comparison['low']:+.4f} to {comparison['high']:+.4f})."
    )
    return Outcome(verdict, passes, f"{reason} {obstacle}".strip(), more)


def judge(comparison: Comparison, *, margin: float) -> Verdict:
    """Return the verdict on a candidate.

    Args:
        comparison: The comparison with the best champion.
        margin: The lwlrap that a champion may lose.

    Examples:
        >>> comparison = Comparison(
        ...     set="all", clips=400, score=0.71, champion=0.7, difference=0.01, low=-0.005, high=0.025
        ... )
        >>> judge(comparison, margin=0.01)
        'not worse'
        >>> judge(comparison, margin=0.001)
        'undecided'
    """
    ends = (comparison["low"], comparison["difference"], comparison["high"])
    if min(ends) > 0:
        return "better"
    if min(ends) > -margin:
        return "not worse"
    return "worse" if max(ends) < -margin else "undecided"


def more_clips(comparison: Comparison, *, margin: float) -> int | None:
    """Return how many more labelled clips would decide, to two digits, if the difference stayed the same.

    The width of the interval shrinks with the square root of the number of clips, so with k times as many clips its end
    comes closer to the estimate by a factor of sqrt(k), and it must come closer than `-margin`.

    Returns:
        None if the estimate is at the margin, or so close that more than `FORESEEABLE` times as many clips are needed.
    """
    distance = comparison["difference"] + margin
    end = comparison["low"] if distance > 0 else comparison["high"]
    if abs(end - comparison["difference"]) >= math.sqrt(FORESEEABLE) * abs(distance):
        return None
    factor = ((end - comparison["difference"]) / distance) ** 2
    more = max(1.0, (factor - 1) * comparison["clips"])
    step = 10 ** max(0, math.floor(math.log10(more)) - 1)
    return math.ceil(more / step) * step
