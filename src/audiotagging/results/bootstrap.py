"""The bootstrap over clips: how far a score would move had other clips of the same kind been scored.

A score here is a ratio of two sums over clips, such as lwlrap: the sum of the label precisions over the number of
labels. So the sums of each clip are all that is needed, and all draws are one product of matrices. Systems that are
drawn together see the same clips in every draw, which makes their differences paired.
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
        numerators: What each clip adds to the upper sum of each system, shape (clips, systems).
        denominators: What it adds to the lower sum, shape (clips, systems) or (clips, 1).
        draws: How often to draw as many clips as there are.
        seed: Seed of the draws.

    Returns:
        Scores, shape (draws, systems); NaN where no drawn clip adds to the lower sum.
    """
    clips = len(numerators)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(clips, size=(draws, clips))
    drawn += clips * np.arange(draws)[:, None]  # draw d counts in cells d * clips ...
    counts = np.bincount(drawn.ravel(), minlength=draws * clips).reshape(draws, clips).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return (counts @ numerators) / (counts @ denominators)


def interval(scores: np.ndarray, *, level: float = LEVEL) -> tuple[float, float]:
    """Return the percentile interval of scores of draws, shape (draws,), that holds a share `level` of them."""
    low, high = np.nanpercentile(scores, [50 - 50 * level, 50 + 50 * level])
    return float(low), float(high)
