"""Fits the curves that turn an ensemble's scores into probabilities, to clips that its models were not trained on.

A curve keeps the order of the clips in a class, but not that of the classes in a clip, which lwlrap depends on. The
submission therefore holds calibrated scores only if their lwlrap is clearly higher in the cross-validation.

There are two methods:

* "platt": a straight line on the scale of logits, with a slope and an intercept (Platt, "Probabilistic outputs for
  support vector machines", 1999).
* "isotonic": the steps that never fall and fit best by least squares (Zadrozny and Elkan, "Transforming classifier
  scores into accurate multiclass probability estimates", KDD 2002).

A line keeps more of what the scores tell, because steps tie the clips on them. The steps are therefore used only if
their log loss in a cross-validation over clips is clearly lower.

The curve of a class is the mean of its own and of one that is fitted to all classes together. The fewer clips have the
label, the less its own counts.
"""

from collections.abc import Callable, Sequence

import numpy as np

from audiotagging.artifacts.calibration import EDGE, Calibration, Curve, calibrate, logits, sigmoid
from audiotagging.statistics.intervals import bootstrap, estimate_systems, interval

# Number of clips with the label for which a class's own curve counts as much as the shared one. Of the numbers from 5
# to 200, 40 gave a low log loss both on the test clips of four parts of ESC-10 and in their cross-validations.
HALF = 40
FOLDS = 5  # of the cross-validation
SEED = 534


def fit_platt(scores: np.ndarray, labels: np.ndarray) -> Curve:
    """Fit a line to the logits of scores: the maximum likelihood under Platt's targets.

    Scores that are lower for the clips with the label give a level line, because a curve never falls.

    Args:
        scores: Scores, shape (clips,).
        labels: True where the clip has the label, bool, shape (clips,).
    """
    slope, intercept = _regress(logits(scores), _targets(labels))
    ends = logits(np.array([EDGE, 1 - EDGE]))
    return Curve(ends.tolist(), (slope * ends + intercept).tolist())


def _regress(values: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Return the slope, at least 0, and the intercept of the logistic regression of targets in (0, 1)."""
    inputs = np.stack([values, np.ones_like(values)], axis=1)
    level = float(logits(targets.mean()))

    def loss(line: np.ndarray) -> float:
        outputs = inputs @ line
        return float((np.logaddexp(0, outputs) - targets * outputs).sum())

    line, step = np.array([0.0, level]), np.ones(2)
    while np.abs(step).max() > 1e-9:  # Newton's method
        probabilities = sigmoid(inputs @ line)
        curvature = inputs.T @ (inputs * (probabilities * (1 - probabilities))[:, None])
        step = np.linalg.lstsq(curvature, inputs.T @ (targets - probabilities), rcond=None)[0]
        while loss(line + step) > loss(line):
            step /= 2
        line = line + step
    return (float(line[0]), float(line[1])) if line[0] > 0 else (0.0, level)


def fit_isotonic(scores: np.ndarray, labels: np.ndarray) -> Curve:
    """Fit steps that never fall to Platt's targets, by pooling adjacent violators.

    Args:
        scores: Scores, shape (clips,).
        labels: True where the clip has the label, bool, shape (clips,).
    """
    values, place, counts = np.unique(logits(scores), return_inverse=True, return_counts=True)
    steps: list[tuple[float, int, list[float]]] = []  # sum of the targets, number of clips, first and last value
    for value, total, count in zip(values.tolist(), np.bincount(place, _targets(labels)), counts, strict=True):
        step = (total, count, [value, value])
        while steps and steps[-1][0] / steps[-1][1] >= step[0] / step[1]:
            below = steps.pop()
            step = (below[0] + step[0], below[1] + step[1], [below[2][0], step[2][1]])
        steps.append(step)
    ends = {value: total / count for total, count, both in steps for value in both}
    return Curve(list(ends), logits(np.array(list(ends.values()))).tolist())


def _targets(labels: np.ndarray) -> np.ndarray:
    """Return Platt's targets, which allow for one more clip of either kind, so that no score becomes certain."""
    return np.where(labels, (labels.sum() + 1) / (labels.sum() + 2), 1 / ((~labels).sum() + 2))


METHODS: dict[str, Callable[[np.ndarray, np.ndarray], Curve]] = {"platt": fit_platt, "isotonic": fit_isotonic}


def fit_curves(truth: np.ndarray, scores: np.ndarray, *, method: str) -> list[Curve]:
    """Fit the curve of every class.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        scores: Scores in [0, 1], shape (clips, classes).
        method: A key of `METHODS`.
    """
    fit = METHODS[method]
    shared = fit(scores.ravel(), truth.ravel())
    return [
        _mix(fit(found, labels), shared, share=labels.sum() / (labels.sum() + HALF))
        for found, labels in zip(scores.T, truth.T, strict=True)
    ]


def _mix(own: Curve, shared: Curve, *, share: float) -> Curve:
    values = np.union1d(own.scores, shared.scores)
    both = [np.interp(values, curve.scores, curve.probabilities) for curve in (own, shared)]
    mixed = share * both[0] + (1 - share) * both[1]
    return Curve(values.tolist(), np.maximum.accumulate(mixed).tolist())  # rounding could make it fall


def cross_calibrate(truth: np.ndarray, scores: np.ndarray, *, method: str) -> np.ndarray:
    """Return the probabilities of all clips, each by curves that were fitted without it.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        scores: Scores in [0, 1], shape (clips, classes).
        method: A key of `METHODS`.

    Returns:
        Shape (clips, classes).
    """
    fold = np.random.default_rng(SEED).permutation(len(truth)) % FOLDS
    probabilities = np.empty(truth.shape, np.float32)
    for held_out in np.unique(fold):
        rest = fold != held_out
        curves = fit_curves(truth[rest], scores[rest], method=method)
        probabilities[~rest] = calibrate(scores[~rest], curves)
    return probabilities


def log_loss(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean log loss over all pairs of a clip and a class; lower is better."""
    values = logits(probabilities)
    return float((np.logaddexp(0, values) - truth * values).mean())


def _is_clearly_better(truth: np.ndarray, probabilities: np.ndarray, than: np.ndarray) -> bool:
    """Return whether the interval of the difference in log loss, by a paired bootstrap over clips, is below zero."""
    values, others = logits(probabilities), logits(than)
    differences = np.logaddexp(0, values) - np.logaddexp(0, others) - truth * (values - others)
    _, high = interval(bootstrap(differences.mean(axis=1, keepdims=True), np.ones((len(truth), 1)))[:, 0])
    return high < 0


def fit_calibration(truth: np.ndarray, scores: np.ndarray, classes: Sequence[str]) -> Calibration:
    """Fit the calibration of an ensemble.

    Args:
        truth: True where the clip has the label, bool, shape (clips, classes).
        scores: Out-of-fold scores in [0, 1], shape (clips, classes).
        classes: The classes.
    """
    crossed = {method: cross_calibrate(truth, scores, method=method) for method in METHODS}
    losses = {method: log_loss(truth, probabilities) for method, probabilities in crossed.items()}
    is_better = _is_clearly_better(truth, crossed["isotonic"], than=crossed["platt"])
    method = "isotonic" if is_better else "platt"
    _, others = estimate_systems(truth, crossed[method], {"": {"uncalibrated": scores}})
    return Calibration(
        method=method,
        log_loss={"uncalibrated": log_loss(truth, scores), **losses},
        submitted=others[""]["uncalibrated"]["difference_low"] > 0,
        curves=dict(zip(classes, fit_curves(truth, scores, method=method), strict=True)),
    )
