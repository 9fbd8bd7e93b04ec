"""What more clips are expected to gain, from the scores of a member that was trained on parts of the clips.

The score of a class is its lwlrap: the mean precision at the rank of its label. As the clips grow to `r` times their
number, it follows a power law (Hestness et al., "Deep learning scaling is predictable, empirically", 2017; Mahmood et
al., "How much more data do I need?", CVPR 2022), written so that every parameter can be read off a plot:

    score(r) = last + change * bend(r),    bend(r) = (1 - r^-c) / (s^-c - 1)

`last` is the score of all clips (r = 1), `change` is what it gained since the smallest share `s`, and the curvature `c`
says how soon the curve flattens: 0 is a logarithm, 1 approaches its limit as 1 / r. Curves of four points say little
about the curvature, and the shapes of real ones differ (Viering and Loog, "The shape of learning curves: a review",
2023). Hence the estimates average over curvatures: a prior around 1/2, the exponent of the classical bounds, times the
likelihood of the curve of all classes together. Each class may bend a little differently.

The errors of a curve have two sources: the clips that are scored and the draws that were trained on. Both are measured,
and those of classes with few scored clips are mixed with those of all classes, like the variances of Smyth ("Linear
models and empirical Bayes methods", 2004). `change`, divided by the error at the smallest share, is what the classes
have in common: a hierarchical normal model (Gelman et al., "Bayesian data analysis", section 5.4) pulls uncertain
classes towards the others. A gain is no larger than the error that is left, which is uncertain too.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from audiotagging.statistics.intervals import interval
from audiotagging.statistics.metrics import label_precisions

FARTHEST = 4.0  # times the clips that there are: the shares span a factor of 4, and nothing is known beyond that
CURVATURES = np.arange(-0.75, 2.26, 0.25)
PRIOR = (0.5, 0.75)  # mean and standard deviation of the curvature of all classes together
OWN = 0.5  # standard deviation of the curvature of a class around that
SPREADS = np.array([0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6])  # of the classes around their common change
SHARED_CLIPS = 4.0  # scored clips of a class with which half of its covariance is that of all classes
SHARED_DRAWS = 4.0  # the same for the variance between draws, in degrees of freedom
SHARED_ERROR = 2.0  # the same for its error, in scored clips
FLIP = 0.1  # error of one imagined clip, and its variance, which keep perfect scores from being certain
SAMPLES = 4000
SEED = 534


@dataclass(frozen=True)
class Curves:
    """Mean scores at every share of the clips.

    Attributes:
        scores: Shape (curves, shares).
        covariances: Covariances of their errors, shape (curves, shares, shares).
    """

    scores: np.ndarray
    covariances: np.ndarray


@dataclass(frozen=True)
class Sizes:
    """Numbers of clips.

    Attributes:
        drawn: Clips that the largest share was drawn from: of every class, shape (classes,), or in all, shape ().
        present: Clips that there are, including those that were held out to be scored; of the same shape.
    """

    drawn: np.ndarray
    present: np.ndarray

    def reach(self, more: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the clips there are, and these with some more, as multiples of those drawn."""
        return self.present / self.drawn, (self.present + more) / self.drawn


def precisions_of(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the precision at the rank of every label, for several trainings.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        scores: Shape (shares, draws, clips, classes).
    """
    return np.array([[label_precisions(truth, each) for each in draws] for draws in scores])


def class_curves(truth: np.ndarray, precisions: np.ndarray) -> Curves:
    """Return the curve of every class, with the covariance of its errors.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes). Every class has a clip.
        precisions: From `precisions_of`, shape (shares, draws, clips, classes).
    """
    shares, draws = precisions.shape[:2]
    clips = truth.sum(axis=0)
    by_draw = precisions.sum(axis=2) / clips  # (shares, draws, classes)
    scores = by_draw.mean(axis=1)
    deviations = np.where(truth, precisions.mean(axis=1) - scores[:, None], 0)
    squares = np.einsum("sik,tik->kst", deviations, deviations)
    shared = (squares.sum(axis=0) + FLIP * np.eye(shares)) / ((clips - 1).sum() + 1)
    of_clips = (squares + SHARED_CLIPS * shared) / (clips - 1 + SHARED_CLIPS)[:, None, None]
    freedom = shares * (draws - 1)
    variances = by_draw.var(axis=1, ddof=1).mean(axis=0)
    of_draws = (freedom * variances + SHARED_DRAWS * variances.mean()) / (freedom + SHARED_DRAWS)
    return Curves(scores.T, of_clips / clips[:, None, None] + (of_draws / draws)[:, None, None] * np.eye(shares))


def whole_curve(truth: np.ndarray, precisions: np.ndarray) -> Curves:
    """Return the curve of the lwlrap of all classes, as the only one of `Curves`. For the arguments see `class_curves`.

    The lwlrap is a ratio of two sums over clips, so the variance between clips is that of the ratio's residuals.
    """
    shares, draws = precisions.shape[:2]
    labels = truth.sum(axis=1)
    by_draw = precisions.sum(axis=(2, 3)) / labels.sum()  # (shares, draws)
    scores = by_draw.mean(axis=1)
    residuals = precisions.mean(axis=1).sum(axis=2) - scores[:, None] * labels
    squares = residuals @ residuals.T + FLIP * np.eye(shares)
    of_draws = by_draw.var(axis=1, ddof=1).mean() / draws
    return Curves(scores[None], (squares / labels.sum() ** 2 + of_draws * np.eye(shares))[None])


def bend(reach: np.ndarray | float, *, curvature: float, smallest: float) -> np.ndarray:
    """Return `bend` of the module's docstring: -1 at the smallest share, 0 at all clips, positive beyond.

    Args:
        reach: Multiples of the clips that the largest share has.
        curvature: The curvature, `c`.
        smallest: The smallest share, `s`.

    Examples:
        With a logarithm, twice the clips gain as much again as a doubling did before:

        >>> bend(np.array([0.25, 0.5, 1, 2]), curvature=0, smallest=0.25)
        array([-1. , -0.5,  0. ,  0.5])
    """
    if curvature == 0:
        return np.log(reach) / -np.log(smallest)
    return np.asarray((1 - np.power(reach, -curvature)) / (smallest**-curvature - 1))


def estimate_gains(
    truth: np.ndarray, precisions: np.ndarray, *, shares: np.ndarray, whole: Sizes, classes: Sizes, more: int
) -> dict[str, Any]:
    """Estimate what more clips gain.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes). Every class has a clip.
        precisions: From `precisions_of`, shape (shares, draws, clips, classes).
        shares: The shares, ascending, the last of them 1.
        whole: The numbers of clips in all.
        classes: The numbers of clips of every class.
        more: The number of clips to gain from.

    Returns:
        Four entries. `scores` is the lwlrap of every share. `curve` is the fitted curve of the lwlrap: rows of `clips`,
        `score`, `low` and `high`. `gains` lists what clips gain in all: `of` ("all", for clips of all classes mixed as
        now, and "each", for that many of every class), `expected`, `low` and `high`. `classes` has one row per class:
        `scores`, `expected`, `low` and `high`. What would reach farther than `FARTHEST` is None.
    """
    curve, curves = whole_curve(truth, precisions), class_curves(truth, precisions)
    rng = np.random.default_rng(SEED)
    weights = _curvature_weights(curve, shares)
    samples = _sample_whole(curve, shares, weights, rng)
    farther = {"all": more, "each": more * len(classes.present)}
    return {
        "scores": curve.scores[0].tolist(),
        "curve": _fitted(samples, shares, whole, farthest=farther["each"]),
        "gains": [{"of": of} | _gain_in_all(samples, shares, whole.reach(count)) for of, count in farther.items()],
        "classes": _class_gains(
            curves, truth.sum(axis=0), shares=shares, reach=classes.reach(more), weights=_widen(weights), rng=rng
        ),
    }


@dataclass(frozen=True)
class _Fit:
    """Generalised least squares of curves with one curvature: `last` and `change`, with their covariance.

    Attributes:
        parameters: Shape (curves, 2).
        covariances: Shape (curves, 2, 2).
        log_likelihoods: Likelihoods of the curvature, integrated over both parameters, shape (curves,).
    """

    parameters: np.ndarray
    covariances: np.ndarray
    log_likelihoods: np.ndarray


def _fit(curves: Curves, shares: np.ndarray, curvature: float) -> _Fit:
    design = np.stack([np.ones(len(shares)), bend(shares, curvature=curvature, smallest=shares[0])], axis=1)
    precision = np.linalg.inv(curves.covariances)
    covariances = np.linalg.inv(design.T @ precision @ design)
    parameters = (covariances @ design.T @ precision @ curves.scores[..., None])[..., 0]
    residuals = curves.scores - parameters @ design.T
    misfit = np.einsum("ks,kst,kt->k", residuals, precision, residuals)
    return _Fit(parameters, covariances, (np.linalg.slogdet(covariances)[1] - misfit) / 2)


def _curvature_weights(whole: Curves, shares: np.ndarray) -> np.ndarray:
    """Return the probability of each of `CURVATURES` for the curve of all classes."""
    likelihoods = [_fit(whole, shares, curvature).log_likelihoods[0] for curvature in CURVATURES]
    mean, deviation = PRIOR
    return _normalised(np.array(likelihoods) - ((CURVATURES - mean) / deviation) ** 2 / 2)


def _widen(weights: np.ndarray) -> np.ndarray:
    """Return the probability of each of `CURVATURES` for a single class."""
    kernel = np.exp(-(((CURVATURES[:, None] - CURVATURES) / OWN) ** 2) / 2)
    return np.asarray((kernel / kernel.sum(axis=0)) @ weights)


def _normalised(logarithms: np.ndarray) -> np.ndarray:
    weights = np.exp(logarithms - logarithms.max())
    return np.asarray(weights / weights.sum())


def _sample_whole(
    whole: Curves, shares: np.ndarray, weights: np.ndarray, rng: np.random.Generator
) -> list[tuple[float, np.ndarray]]:
    """Sample the parameters of the curve of all classes: for each curvature, an array of shape (samples, 2)."""
    sampled = []
    for curvature, count in zip(CURVATURES, rng.multinomial(SAMPLES, weights), strict=True):
        fit = _fit(whole, shares, curvature)
        sampled.append((curvature, rng.multivariate_normal(fit.parameters[0], fit.covariances[0], count)))
    return sampled


def _gain_in_all(
    samples: list[tuple[float, np.ndarray]], shares: np.ndarray, reach: tuple[np.ndarray, np.ndarray]
) -> dict[str, float | None]:
    before, after = (
        np.concatenate([found[:, 1] * bend(end, curvature=each, smallest=shares[0]) for each, found in samples])
        for end in reach
    )
    errors = 1 - np.concatenate([found[:, 0] for _, found in samples])
    return _summary(np.minimum(after - before, errors.clip(0)), float(reach[1]))


def _fitted(
    samples: list[tuple[float, np.ndarray]], shares: np.ndarray, sizes: Sizes, *, farthest: float
) -> list[dict[str, float]]:
    """Return the fitted curve from the smallest share to some more clips, or to `FARTHEST`."""
    end = min(float(sizes.reach(farthest)[1]), FARTHEST)
    rows = []
    for reach in np.geomspace(shares[0], end, 60):
        scores = np.concatenate(
            [found @ [1, bend(reach, curvature=curvature, smallest=shares[0])] for curvature, found in samples]
        ).clip(0, 1)
        low, high = interval(scores)
        rows.append({"clips": float(reach * sizes.drawn), "score": float(scores.mean()), "low": low, "high": high})
    return rows


def _class_gains(
    curves: Curves,
    clips: np.ndarray,
    *,
    shares: np.ndarray,
    reach: tuple[np.ndarray, np.ndarray],
    weights: np.ndarray,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """Return the scores and the gain of every class."""
    errors = 1 - curves.scores
    shared = (clips @ errors + FLIP) / (clips.sum() + 1)
    errors = (clips[:, None] * errors + SHARED_ERROR * shared) / (clips + SHARED_ERROR)[:, None]
    gains = []
    for curvature, count in zip(CURVATURES, rng.multinomial(SAMPLES, weights), strict=True):
        fit = _fit(curves, shares, curvature)
        shrunk = _sample_shrunk(
            fit.parameters[:, 1] / errors[:, 0], fit.covariances[:, 1, 1] / errors[:, 0] ** 2, count, rng
        )
        before, after = (bend(end, curvature=curvature, smallest=shares[0]) for end in reach)
        gains.append(shrunk * errors[:, 0] * (after - before))
    variances = curves.covariances[:, -1, -1]
    left = rng.gamma(errors[:, -1] ** 2 / variances, variances / errors[:, -1], (SAMPLES, len(errors)))  # above 0
    sampled = np.minimum(np.concatenate(gains), left)
    return [
        {"scores": scores.tolist()} | _summary(sampled[:, column], reach[1][column])
        for column, scores in enumerate(curves.scores)
    ]


def _sample_shrunk(estimates: np.ndarray, variances: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Sample the posterior of a hierarchical normal model, whose mean and spread have flat priors.

    Args:
        estimates: One per class, shape (classes,).
        variances: Variances of their errors, shape (classes,).
        count: Number of samples.
        rng: The random generator.

    Returns:
        Shape (count, classes).
    """
    precisions = 1 / (variances + SPREADS[:, None] ** 2)  # (spreads, classes)
    of_mean = 1 / precisions.sum(axis=1)
    means = of_mean * (precisions @ estimates)
    misfits = (precisions * (estimates - means[:, None]) ** 2).sum(axis=1)
    likelihoods = (np.log(of_mean) + np.log(precisions).sum(axis=1) - misfits) / 2
    chosen = rng.choice(len(SPREADS), count, p=_normalised(likelihoods))
    common = rng.normal(means[chosen], np.sqrt(of_mean[chosen]))[:, None]
    pull = variances * precisions[chosen]  # towards the common mean: 1 if the classes do not differ
    return rng.normal(estimates + pull * (common - estimates), np.sqrt(variances * (1 - pull)))


def _summary(gains: np.ndarray, reach: float) -> dict[str, float | None]:
    if reach > FARTHEST:
        return dict.fromkeys(("expected", "low", "high"))
    low, high = interval(gains)
    return {"expected": float(gains.mean()), "low": low, "high": high}
