"""The plot of how a system scores the clips that have a label and the clips that do not, for each class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator

from audiotagging.report.plots import ACCENT, INK, PAPER, SECOND, WIDTH, notes, row_axes, svg

EDGE = 0.001  # scores are drawn between this and 1 minus this
TICKS = (0.5, 0.1, 0.9, 0.01, 0.99, 0.001, 0.999, 0.2, 0.8, 0.05, 0.95, 0.02, 0.98, 0.3, 0.7)  # the first ones first
GAP = 30.0  # points, the minimum distance between ticks
ROW = 20.0  # points


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """How one class is scored.

    Attributes:
        label: The class.
        with_label: The 5th, 25th, 50th, 75th and 95th percentile of the scores of clips that have the label.
        without_label: The same of all other clips. Empty if there are none.
        threshold: The score from which on the class is tagged, if there is one.
    """

    label: str
    with_label: Sequence[float]
    without_label: Sequence[float]
    threshold: float | None = None


def score_limits(rows: Sequence[ScoreRow]) -> tuple[float, float]:
    """Return the lowest and the highest of all quantiles and thresholds of the classes, between 0.001 and 0.999."""
    ends = [value for row in rows for values in (row.with_label, row.without_label) for value in values]
    ends += [row.threshold for row in rows if row.threshold is not None]
    return max(EDGE, min(ends)), min(1 - EDGE, max(ends))


def score_plot(rows: Sequence[ScoreRow], *, description: str, limits: tuple[float, float], label_length: int) -> str:
    """Draw the scores of each class: a bar for the clips with its label above one for the clips without it.

    The axis is that of logits, log(p / (1 - p)), because most scores are close to 0.

    Args:
        rows: The classes, from top to bottom.
        description: What the plot shows, for screen readers.
        limits: Scores at both ends of the axis, between 0.001 and 0.999.
        label_length: Number of characters to reserve for labels.
    """
    has_thresholds = any(row.threshold is not None for row in rows)
    labels = [row.label for row in rows]
    headers = ["threshold"] if has_thresholds else []
    low, high = (float(_place(end)) for end in limits)
    space = 0.03 * (high - low) + 0.05
    with row_axes(labels, headers=headers, limits=(low - space, high + space), row=ROW, longest=label_length) as axes:
        ticks = _choose_ticks(axes)
        axes.xaxis.set_major_locator(FixedLocator(_place(ticks).tolist()))
        axes.xaxis.set_major_formatter(FixedFormatter([f"{tick:g}".removeprefix("0") for tick in ticks]))
        for place, row in enumerate(rows):
            for quantiles, colour, up in ((row.with_label, SECOND, -0.19), (row.without_label, ACCENT, 0.19)):
                if len(quantiles):
                    lowest, low, middle, high, highest = _place(quantiles)
                    axes.hlines(place + up, lowest, highest, color=colour, linewidth=1.2)
                    axes.hlines(place + up, low, high, color=colour, linewidth=5)
                    axes.plot(middle, place + up, "o", color=PAPER, markeredgecolor=colour, markersize=4)
            if row.threshold is not None:
                axes.vlines(_place(row.threshold), place - 0.42, place + 0.42, color=INK, linewidth=1.6)
                notes(axes, place, [f"{row.threshold:.3f}"])
        return svg(axes.figure, description)


def _choose_ticks(axes: Axes) -> list[float]:
    """Return as many of `TICKS` as fit on the axis, in ascending order."""
    low, high = axes.get_xlim()
    gap = GAP / (axes.get_position().width * WIDTH) * (high - low)
    chosen: list[float] = []
    for tick in TICKS:
        if low <= _place(tick) <= high and all(abs(_place(tick) - _place(other)) >= gap for other in chosen):
            chosen.append(tick)
    return sorted(chosen)


def _place(scores: Sequence[float] | float) -> np.ndarray:
    limited = np.clip(scores, EDGE, 1 - EDGE)
    return np.log(limited / (1 - limited))
