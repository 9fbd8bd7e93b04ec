"""The bootstrap over clips: how much a score would vary if other clips of the same kind were scored.

Every score here is the ratio of two sums over clips. lwlrap, for example, is the sum of the label precisions divided by
the number of labels. The bootstrap therefore needs only the two sums of each clip, and one matrix product computes all
draws. Systems that are drawn together see the same clips in every draw, so their differences are paired.
"""

import numpy as np

DRAWS = 1000
SEED = 534
LEVEL = 0.95


def draw_scores(
    numerators: np.ndarray, denominators: np.ndarray, *, draws: int = DRAWS, seed: int = SEED
) -> np.ndarray:
    """Score systems on clips drawn with replacement.

    Args:
        numerators: What each clip adds to the numerator of each system's score, shape (clips, systems).
        denominators: What each clip adds to the denominator, shape (clips, systems) or (clips, 1).
        draws: Number of draws. Each draw takes as many clips as there are.
        seed: Seed of the draws.

    Returns:
        Scores, shape (draws, systems). A score is NaN if its denominator is 0.
    """
    clips = len(numerators)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(clips, size=(draws, clips))
    drawn += clips * np.arange(draws)[:, None]  # draw d counts its clips from cell d * clips on
    counts = np.bincount(drawn.ravel(), minlength=draws * clips).reshape(draws, clips).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return (counts @ numerators) / (counts @ denominators)


def interval(scores: np.ndarray, *, level: float = LEVEL) -> tuple[float, float]:
    """Return the percentile interval that contains the share `level` of the scores.

    Args:
        scores: One score per draw, shape (draws,).
        level: Share of the scores between the two ends.

    Returns:
        The lower and the upper end.
    """
    low, high = np.nanpercentile(scores, [50 - 50 * level, 50 + 50 * level])
    return float(low), float(high)
