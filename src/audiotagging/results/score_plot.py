"""The plot of how a system scores the clips that have a label and the clips that do not, for each class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import FixedFormatter, FixedLocator

from audiotagging.results.plots import ACCENT, INK, PAPER, SECOND, notes, row_axes, svg

EDGE = 0.001  # scores are drawn between this and 1 minus this
TICKS = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
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


def score_plot(rows: Sequence[ScoreRow], *, description: str, label_length: int) -> str:
    """Draw the scores of each class: a bar for the clips with its label above one for the clips without it.

    The axis is that of logits, log(p / (1 - p)), because most scores are close to 0.

    Args:
        rows: The classes, from top to bottom.
        description: What the plot shows, for screen readers.
        label_length: Number of characters to reserve for labels.
    """
    has_thresholds = any(row.threshold is not None for row in rows)
    labels = [row.label for row in rows]
    headers = ["threshold"] if has_thresholds else []
    limits = float(_place(EDGE)) - 0.3, float(_place(1 - EDGE)) + 0.3
    with row_axes(labels, headers=headers, limits=limits, row=ROW, longest=label_length) as axes:
        axes.xaxis.set_major_locator(FixedLocator(_place(TICKS).tolist()))
        axes.xaxis.set_major_formatter(FixedFormatter([f"{tick:g}".removeprefix("0") for tick in TICKS]))
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


def _place(scores: Sequence[float] | float) -> np.ndarray:
    limited = np.clip(scores, EDGE, 1 - EDGE)
    return np.log(limited / (1 - limited))
