import math

import numpy as np
import pytest

from audiotagging.artifacts.champions_folder import Comparison
from audiotagging.champions.promotion_rule import FORESEEABLE, POLICIES, decide, judge, more_clips
from audiotagging.statistics.intervals import bootstrap, interval


def comparison(difference, low, high, *, clips=400):
    return Comparison(
        set="all", clips=clips, score=0.7 + difference, champion=0.7, difference=difference, low=low, high=high
    )


@pytest.mark.parametrize(
    ("difference", "low", "high", "expected"),
    [
        (0.02, 0.001, 0.04, "better"),
        (0.02, 0.0, 0.04, "not worse"),
        (0.0, 0.0, 0.0, "not worse"),
        (-0.004, -0.0099, 0.002, "not worse"),
        (-0.005, -0.009, -0.001, "not worse"),  # surely worse, but surely by less than the margin
        (-0.004, -0.0101, 0.002, "undecided"),
        (0.02, -0.02, 0.06, "undecided"),
        (-0.02, -0.03, -0.009, "undecided"),
        (-0.02, -0.03, -0.011, "worse"),
        (-0.02, -0.005, 0.0, "undecided"),  # an interval that does not contain the estimate
    ],
)
def test_the_verdict_follows_from_where_the_interval_lies(difference, low, high, expected):
    assert judge(comparison(difference, low, high), margin=0.01) == expected


@pytest.mark.parametrize("policy", POLICIES)
def test_the_policy_says_which_verdicts_promote(policy):
    candidates = {
        "better": comparison(0.02, 0.001, 0.04),
        "not worse": comparison(0.0, -0.005, 0.005),
        "undecided": comparison(0.0, -0.02, 0.02),
        "worse": comparison(-0.05, -0.06, -0.04),
    }
    outcomes = {verdict: decide(each, policy=policy) for verdict, each in candidates.items()}
    assert {verdict: outcome.verdict for verdict, outcome in outcomes.items()} == {name: name for name in candidates}
    promoted = {verdict for verdict, outcome in outcomes.items() if outcome.passes}
    assert promoted == {"never": set(), "better": {"better"}, "not-worse": {"better", "not worse"}}[policy]
    for outcome in outcomes.values():
        assert outcome.reason.startswith("Promoted: " if outcome.passes else "Not promoted: ")
        assert outcome.reason.endswith("None is promoted by itself.") == (policy == "never")


def test_a_row_may_not_fall_from_a_champion_that_seemed_to_be_better():
    candidate = comparison(0.0, -0.009, 0.009)
    assert decide(candidate, peak=0.009).passes
    outcome = decide(candidate, peak=0.02)
    assert not outcome.passes and outcome.verdict == "not worse"
    assert outcome.reason.endswith("A champion since then had a difference of +0.0200.")


def test_an_obstacle_prevents_a_promotion_and_is_named():
    outcome = decide(comparison(0.02, 0.001, 0.04), obstacle="It is Sunday.")
    assert not outcome.passes and outcome.verdict == "better" and outcome.reason.endswith("It is Sunday.")


@pytest.mark.parametrize("shift", [-0.02, -0.004, 0.0, 0.005])
def test_the_number_of_clips_that_would_decide_does_decide(shift):
    """With as many more clips of their kind, the interval no longer contains the margin; with fewer, it still does."""
    gains = shift + np.tile([-0.2, 0.2], 200)
    few = compared(gains)
    outcome = decide(few, margin=0.01)
    assert outcome.verdict == "undecided" and outcome.more_clips == more_clips(few, margin=0.01)
    assert f"About {outcome.more_clips} more labelled clips would decide." in outcome.reason
    for share, decided in ((0.7, False), (1.4, True)):
        more = compared(np.resize(gains, 2 * round(share * (len(gains) + outcome.more_clips) / 2)))
        assert (judge(more, margin=0.01) != "undecided") == decided


def compared(gains):
    """Compare two systems, given by how much more precise one is at the only label of each clip."""
    low, high = interval(bootstrap(gains[:, None], np.ones((len(gains), 1)))[:, 0])
    return comparison(float(gains.mean()), low, high, clips=len(gains))


@pytest.mark.parametrize("distance", [0.0, 1e-12, -1e-12])
def test_at_the_margin_itself_nobody_can_say_how_many_clips_would_decide(distance):
    candidate = comparison(-0.01 + distance, -0.03, 0.01)
    assert more_clips(candidate, margin=0.01) is None
    outcome = decide(candidate)
    assert outcome.verdict == "undecided" and "would decide" not in outcome.reason


def test_the_number_of_clips_is_never_beyond_what_can_be_foreseen():
    width = 0.02
    for factor in (0.5 * FORESEEABLE, 2 * FORESEEABLE):
        distance = width / math.sqrt(factor)
        found = more_clips(comparison(-0.01 + distance, -0.01 + distance - width, 0.02), margin=0.01)
        assert (found is not None) == (factor < FORESEEABLE)


# A long row of candidates, each in truth a little worse than the champion, as a warm start might make them.

MARGIN = 0.01
CLIPS = 500
NOISE = 0.04  # of the precision of one version on one clip: the difference of two has a standard error of 0.0025


class Row:
    """Simulates a row of candidates: what the champions were in truth, and what was measured of them."""

    def __init__(self, promotes, *, step, seed, runs=60):
        rng = np.random.default_rng(seed)
        difficulty = rng.beta(4, 2, CLIPS)
        self.truths, self.scores = [0.0], [difficulty + rng.normal(0, NOISE, CLIPS)]
        for _ in range(runs):
            truth = self.truths[-1] - step
            candidate = difficulty + truth + rng.normal(0, NOISE, CLIPS)
            if promotes(candidate, self.scores):
                self.truths.append(truth)
                self.scores.append(candidate)


def old_rule(candidate, champions):
    """What was done before: compare with the champion, and promote unless the interval lies below zero."""
    return compared(candidate - champions[-1])["high"] >= 0


def new_rule():
    best, peak = 0, 0.0

    def promotes(candidate, champions):
        nonlocal best, peak
        found = compared(candidate - champions[best])
        outcome = decide(found, margin=MARGIN, peak=peak)
        if outcome.passes:
            best, peak = (
                (len(champions), 0.0) if outcome.verdict == "better" else (best, max(peak, found["difference"]))
            )
        return outcome.passes

    return promotes


@pytest.mark.parametrize("step", [0.0, 0.001, 0.002])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_long_row_of_slightly_worse_candidates_slides_by_the_old_rule_and_not_by_the_new_one(seed, step):
    old, new = Row(old_rule, step=step, seed=seed), Row(new_rule(), step=step, seed=seed)
    assert step == 0 or old.truths[-1] < -2 * MARGIN  # it slid
    assert len(new.truths) > 2  # the gate is not just shut
    assert new.truths[-1] > -1.5 * MARGIN  # of 60 candidates at the margin, a few are lucky
    measured = [scores.mean() for scores in new.scores]
    for place, score in enumerate(measured):
        assert score > max(measured[: place + 1]) - MARGIN
