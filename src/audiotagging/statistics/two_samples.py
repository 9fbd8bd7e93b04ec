"""Compares two samples without assuming a distribution: a batch of sounds, and test clips.

Each quantity is compared by the Mann-Whitney test. Its statistic is the share of pairs of a file and a test clip in
which the file has the higher value: one half if the batch is like the test clips, whatever the unit and whatever the
distribution. A quantity differs if this share is far from one half and if chance alone would rarely take it there. Both
are needed: few files differ by chance, and among very many the smallest difference is significant.
"""

from dataclasses import dataclass

import numpy as np

FALSE_ALARMS = 0.01  # the largest share of batches like the test clips in which anything may differ by chance
LEAST = 0.1  # how far from one half the share of pairs must be, about a third of the standard deviation
MOVED = 0.1  # share of files with another best tag, beyond chance, from which on the tags differ
DRAWS, SEED = 10_000, 534


@dataclass(frozen=True)
class Difference:
    """How the batch differs from the test clips in one quantity, or in the scores of one class.

    Attributes:
        batch: Median of the batch, or mean for quantities of scores.
        test: Median or mean of the test clips.
        above: Share of pairs of a file and a test clip in which the file has the higher value. Equal ones count half.
        p: Chance of such a share, or one farther from one half, if nothing differs, times the number of comparisons.
        differs: Whether `above` is at least `LEAST` from one half, and `p` below `FALSE_ALARMS`.
    """

    batch: float
    test: float
    above: float
    p: float
    differs: bool


@dataclass(frozen=True)
class Moved:
    """How the best tags of the batch differ from those of the test clips.

    Attributes:
        share: Share of the files that would need another best tag for all tags to be as frequent as among test clips.
        chance: The mean of this share if nothing differs.
        p: Chance of such a share, or a larger one, if nothing differs, times the number of comparisons.
        differs: Whether `share` is larger than `chance` by at least `MOVED`, and `p` below `FALSE_ALARMS`.
    """

    share: float
    chance: float
    p: float
    differs: bool


def difference_of(batch: np.ndarray, test: np.ndarray, *, tests: int, mean: bool) -> Difference:
    """Compare one quantity.

    Args:
        batch: Shape (files,).
        test: Shape (clips,).
        tests: Number of comparisons that are made together (Bonferroni's correction).
        mean: Whether to state the means rather than the medians.
    """
    above, p = superiority(batch, test)
    p = min(1.0, tests * p)
    centre = np.mean if mean else np.median
    differs = abs(above - 0.5) >= LEAST and p < FALSE_ALARMS
    return Difference(float(centre(batch)), float(centre(test)), above, p, differs)


def moved_tags(batch: np.ndarray, test: np.ndarray, *, tests: int) -> Moved:
    """Compare best tags by their total variation, and by a permutation test of it.

    Args:
        batch: Numbers of classes, shape (files,).
        test: Numbers of classes, shape (clips,).
        tests: Number of comparisons that are made together.
    """
    together = np.bincount(np.concatenate([batch, test]))

    def share(of_batch: np.ndarray) -> np.ndarray:
        apart = of_batch / len(batch) - (together - of_batch) / len(test)
        return np.abs(apart).sum(axis=-1) / 2

    found = share(np.bincount(batch, minlength=len(together)))
    drawn = share(np.random.default_rng(SEED).multivariate_hypergeometric(together, len(batch), size=DRAWS))
    p = min(1.0, tests * (1 + (drawn >= found - 1e-12).sum()) / (1 + DRAWS))
    chance = drawn.mean()
    return Moved(float(found), float(chance), p, bool(found - chance >= MOVED and p < FALSE_ALARMS))


def superiority(batch: np.ndarray, test: np.ndarray) -> tuple[float, float]:
    """Compare two samples by the Mann-Whitney test.

    Args:
        batch: Shape (files,).
        test: Shape (clips,).

    Returns:
        The share of pairs in which the batch has the higher value, where equal ones count half; and the two-sided
        chance of such a share if both are from one distribution, by the normal approximation with ties.
    """
    from scipy.stats import mannwhitneyu  # here, because importing it takes half a second

    if np.ptp(np.concatenate([batch, test])) == 0:
        return 0.5, 1.0
    found = mannwhitneyu(batch, test, use_continuity=False, method="asymptotic")
    return float(found.statistic) / (len(batch) * len(test)), float(found.pvalue)
