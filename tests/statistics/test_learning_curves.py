"""What more clips are expected to gain: whether the intervals keep what they say, on curves whose gains are known."""

import numpy as np
import pytest
from helpers.slow import slow_but

from audiotagging.statistics.learning_curves import (
    FARTHEST,
    Sizes,
    bend,
    class_curves,
    estimate_gains,
    precisions_of,
    whole_curve,
)
from audiotagging.statistics.metrics import lwlrap

SHARES = np.array([0.25, 0.5, 0.75, 1.0])
DRAWS = 3
WRONG = np.mean([1 / rank for rank in range(2, 6)])  # mean precision of a clip whose label does not rank first


def make_curves(kind, rng, classes):
    """Return a function from multiples of the clips to the share of clips whose label ranks first, by class."""
    errors = rng.uniform(0.08, 0.9, classes)  # at a quarter of the clips
    if kind == "flat":
        return lambda reach: 1 - errors
    if kind == "logarithm":
        slopes = errors * rng.uniform(0, 0.7, classes) / np.log(4)
        return lambda reach: np.minimum(1 - errors + slopes * np.log(4 * reach), 0.995)
    exponents, floors = rng.uniform(0.1, 1.2, classes), errors * rng.uniform(0, 0.6, classes)
    if kind == "saturating":
        exponents, floors = rng.uniform(1, 2, classes), errors / 2
    return lambda reach: 1 - floors - (errors - floors) * (4 * reach) ** -exponents


def simulate(curves, clips, rng):
    """Return labels, and precisions by share and draw. Some clips are harder than others, and so are some draws."""
    labels = np.repeat(np.arange(len(clips)), clips)
    truth = labels[:, None] == np.arange(len(clips))
    ease = rng.normal(0, np.sqrt(0.65), len(labels))
    of_draws = rng.normal(0, np.sqrt(0.05), (DRAWS, len(clips)))
    precisions = np.zeros((len(SHARES), DRAWS, *truth.shape))
    for place, share in enumerate(SHARES):
        for draw in range(DRAWS):
            luck = of_draws[draw] + rng.normal(0, np.sqrt(0.05), len(clips))
            found = ease + luck[labels] + rng.normal(0, 0.5, len(labels))
            easier = found[:, None] < _quantiles(curves(share))[labels][:, None]
            ranks = 1 / rng.integers(2, 6, (len(labels), 1))
            precisions[place, draw] = truth * np.where(easier, 1, ranks)
    return truth, precisions


def _quantiles(shares):
    """Return the quantiles of the standard normal distribution, from a table of its cumulative distribution."""
    grid = np.linspace(-8, 8, 16001)
    density = np.exp(-(grid**2) / 2)
    return np.interp(shares, np.cumsum(density) / density.sum(), grid)


def true_gains(curves, before, after):
    return (curves(after) - curves(before)) * (1 - WRONG)


CURVES = {
    "as many clips in every class": ("power", [36], [16], 0.0, 0.93),
    "classes of different sizes": ("power", [8, 20, 60], [1, 2, 4, 8, 20], 0.0, 0.93),
    "a fold held out": ("power", [30, 75], [8], 0.2, 0.93),
    "a logarithm": ("logarithm", [36], [16], 0.0, 0.88),
    "a logarithm of classes of different sizes": ("logarithm", [8, 20, 60], [2, 8, 20], 0.0, 0.88),
    "saturating": ("saturating", [36], [16], 0.0, 0.9),
    "flat": ("flat", [36], [16], 0.0, 0.98),
}


@pytest.mark.parametrize("name", slow_but(CURVES, "classes of different sizes", "flat"))
def test_intervals_contain_the_true_gains_about_as_often_as_they_say(name):
    """95 % intervals. The extremes, a logarithm and curves that stop at half of the error, may be missed more often."""
    kind, clips, scored, held_out, least = CURVES[name]
    rng = np.random.default_rng(7)
    inside, clear = [], []
    for _ in range(30):
        present = rng.choice(clips, 20).astype(float)
        drawn = present * (1 - held_out)
        curves = make_curves(kind, rng, len(present))
        truth, precisions = simulate(curves, rng.choice(scored, len(present)), rng)
        sizes = Sizes(drawn, present)
        estimated = estimate_gains(
            truth,
            precisions,
            shares=SHARES,
            whole=Sizes(drawn.sum(), present.sum()),
            classes=sizes,
            more=20,
        )
        gains = true_gains(curves, *sizes.reach(20))
        low, high = (np.array([row[end] for row in estimated["classes"]]) for end in ("low", "high"))
        inside.append((low <= gains) & (gains <= high))
        clear.append(low > 0)
    assert np.mean(inside) >= least
    if kind == "flat":
        assert np.mean(clear) <= 0.02  # nothing is promised where there is nothing to gain
    if kind == "power" and clips == [36]:
        assert np.mean(clear) >= 0.5  # nor is everything withheld


@pytest.mark.parametrize("kind", slow_but(["power", "logarithm", "saturating", "flat"], "power"))
def test_the_interval_of_all_classes_contains_the_true_gain(kind):
    rng = np.random.default_rng(11)
    inside = []
    for _ in range(40):
        curves = make_curves(kind, rng, 10)
        truth, precisions = simulate(curves, np.full(10, 16), rng)
        whole = Sizes(np.array(360), np.array(360))
        classes = Sizes(np.full(10, 36), np.full(10, 36))
        found = estimate_gains(truth, precisions, shares=SHARES, whole=whole, classes=classes, more=20)["gains"]
        gains = [true_gains(curves, *whole.reach(count)).mean() for count in (20, 200)]
        inside += [row["low"] <= gain <= row["high"] for row, gain in zip(found, gains, strict=True)]
    assert np.mean(inside) >= 0.9


def test_the_class_with_most_to_gain_comes_out_on_top():
    rng = np.random.default_rng(3)

    def curves(reach):
        return 1 - np.array([0.8 * (4 * reach) ** -0.5, *[0.1] * 9])

    truth, precisions = simulate(curves, np.full(10, 30), rng)
    sizes = Sizes(np.full(10, 40), np.full(10, 40))
    whole = Sizes(np.array(400), np.array(400))
    first, *others = estimate_gains(truth, precisions, shares=SHARES, whole=whole, classes=sizes, more=20)["classes"]
    assert first["low"] > 0 and first["expected"] > max(row["expected"] for row in others)
    assert not any(row["low"] > 0 for row in others)


def test_few_scored_clips_make_wide_intervals_near_those_of_the_others():
    """One clip that was learned between two shares is no proof of a steep curve."""
    rng = np.random.default_rng(4)
    curves = make_curves("power", np.random.default_rng(5), 10)
    truth, precisions = simulate(curves, np.array([1, *[40] * 9]), rng)
    precisions[:2, :, 0, 0], precisions[2:, :, 0, 0] = 0.2, 1.0
    sizes = Sizes(np.full(10, 40), np.full(10, 40))
    whole = Sizes(np.array(400), np.array(400))
    first, *others = estimate_gains(truth, precisions, shares=SHARES, whole=whole, classes=sizes, more=20)["classes"]
    assert first["expected"] < 1.5 * max(row["expected"] for row in others)
    assert first["high"] - first["low"] > np.median([row["high"] - row["low"] for row in others])


def test_too_few_clips_say_nothing():
    rng = np.random.default_rng(6)
    curves = make_curves("power", rng, 3)
    truth, precisions = simulate(curves, np.full(3, 10), rng)
    clips = np.array([6, 7, 300])
    whole = Sizes(np.array(313), np.array(313))
    few, enough, many = estimate_gains(
        truth, precisions, shares=SHARES, whole=whole, classes=Sizes(clips, clips), more=20
    )["classes"]
    assert 1 + 20 / 6 > FARTHEST > 1 + 20 / 7
    assert few["expected"] is few["low"] is few["high"] is None
    assert enough["high"] - enough["low"] > many["high"] - many["low"] > 0


@pytest.mark.parametrize("curvature", [-0.5, 0.0, 0.5, 2.0])
def test_a_bend_is_a_power_law_between_the_smallest_share_and_all_clips(curvature):
    reach = np.array([0.25, 0.4, 1.0, 3.0])
    bent = bend(reach, curvature=curvature, smallest=0.25)
    power = np.log(reach) if curvature == 0 else -np.sign(curvature) * reach**-curvature
    assert np.allclose(bent, (power - power[2]) / (power[2] - power[0]))


def test_the_scores_of_the_curves_are_lwlraps():
    rng = np.random.default_rng(8)
    truth = rng.random((30, 4)) < 0.4
    truth[np.arange(30), np.arange(30) % 4] = True
    scores = rng.random((4, DRAWS, 30, 4))
    precisions = precisions_of(truth, scores)
    expected = [np.mean([lwlrap(truth, each) for each in draws]) for draws in scores]
    assert np.allclose(whole_curve(truth, precisions).scores, expected)
    curves = class_curves(truth, precisions)
    weights = truth.sum(axis=0) / truth.sum()
    assert np.allclose(weights @ curves.scores, expected)


def test_the_errors_of_a_curve_are_those_of_other_clips_and_draws():
    """The covariance is about that of curves measured again and again: not smaller, and at most twice as large."""
    rng = np.random.default_rng(9)
    curves = make_curves("power", rng, 4)
    measured = [simulate(curves, np.full(4, 12), rng) for _ in range(200)]
    for estimate in (class_curves, whole_curve):
        found = [estimate(*each) for each in measured]
        differences = np.array([each.scores - each.scores[:, :1] for each in found])[..., 1:]
        variances = differences.var(axis=0)
        claimed = np.mean([each.covariances for each in found], axis=0)
        claimed = np.array([matrix.diagonal() + matrix[0, 0] - 2 * matrix[0] for matrix in claimed])[:, 1:]
        assert 0.9 < (claimed / variances).mean() < 2.2


def test_perfect_scores_leave_nothing_to_gain_but_are_not_certain():
    truth = np.eye(3, dtype=bool)[np.arange(30) % 3]
    precisions = np.ones((4, DRAWS, 30, 3)) * truth
    sizes = Sizes(np.full(3, 40), np.full(3, 40))
    whole = Sizes(np.array(120), np.array(120))
    found = estimate_gains(truth, precisions, shares=SHARES, whole=whole, classes=sizes, more=20)
    for row in [*found["classes"], *found["gains"]]:
        assert row["low"] <= 0 and abs(row["expected"]) < 0.02


def test_a_gain_is_no_larger_than_the_error_that_is_left_whose_size_is_uncertain():
    """Scores that rise in a straight line to .9 leave an error of .1, give or take that of 20 clips."""
    rng = np.random.default_rng(12)
    truth = np.eye(4, dtype=bool)[np.arange(80) % 4]
    right = rng.random((DRAWS, 80, 1)) < (0.2 + 0.7 * SHARES)[:, None, None, None]
    sizes = Sizes(np.full(4, 20), np.full(4, 20))
    whole = Sizes(np.array(80), np.array(80))
    precisions = truth * np.where(right, 1.0, 0.2)
    found = estimate_gains(truth, precisions, shares=SHARES, whole=whole, classes=sizes, more=40)
    for row in found["classes"]:
        assert 0 < row["expected"] < 2 * (1 - row["scores"][-1]) + 0.05
        assert row["high"] - row["low"] > 0.03
    assert max(row["high"] for row in found["curve"]) <= 1
