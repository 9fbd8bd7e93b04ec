"""The learning curves of a member: validation, training loss and learning rate by epoch."""

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

from audiotagging.report.plots import ACCENT, MUTED, SECOND, STYLE, WIDTH, svg

HEIGHTS = {"lwlrap": 95.0, "loss": 105.0, "lr": 62.0}  # points
TITLES = {"lwlrap": "lwlrap on the held-out fold", "loss": "training loss", "lr": "learning rate"}
COLOURS = {"lwlrap": SECOND, "loss": ACCENT, "lr": MUTED}


def learning_curves(
    histories: Mapping[int, pd.DataFrame], *, member: str, losses: tuple[float, float], chance: float | None
) -> str:
    """Draw a member's lwlrap (if it was validated), its training loss and its learning rate, with one line per fold.

    Args:
        histories: One table per fold, with the columns `epoch`, `loss`, `lr` and `lwlrap` and one row per epoch.
        member: Id of the member.
        losses: Both ends of the axis of the loss, which is logarithmic.
        chance: The lwlrap of random scores, if it is known.
    """
    validated = any(history["lwlrap"].notna().any() for history in histories.values())
    shown = [column for column in HEIGHTS if column != "lwlrap" or validated]
    heights = [HEIGHTS[column] for column in shown]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH / 72, (sum(heights) + 24) / 72), layout="constrained")
        panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        figure.suptitle(member, x=0.0, ha="left", fontsize=10.5, fontweight="bold")
        for column, axes in zip(shown, panels, strict=True):
            for history in histories.values():
                points = history.dropna(subset=[column])
                marker = "o" if column == "lwlrap" or len(points) == 1 else ""
                axes.plot(
                    points["epoch"], points[column], color=COLOURS[column], linewidth=1.3, marker=marker, markersize=3
                )
            axes.set_title(TITLES[column], color=COLOURS[column])
            axes.grid(axis="y")
            axes.tick_params(axis="y", labelcolor=MUTED, labelsize=9.5)
        panels[0].set_xlim(0, None)
        panels[0].xaxis.set_major_locator(MaxNLocator(5, integer=True))
        panels[-1].set_xlabel("epoch", fontsize=9.5)
        if validated:
            _draw_chance(panels[0], chance)
        _scale_losses(panels[-2], losses)
        panels[-1].set_ylim(0, None)
        panels[-1].yaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 5, 10]))
        return svg(figure, f"{member}: {', '.join(TITLES[column] for column in shown)} by epoch")


def loss_limits(losses: Sequence[pd.Series]) -> tuple[float, float]:
    """Return the ends of a logarithmic axis for several curves, with some space beyond the lowest and the highest."""
    values = np.concatenate([loss.to_numpy() for loss in losses])
    space = (values.max() / values.min()) ** 0.06 * 1.02
    return float(values.min() / space), float(values.max() * space)


def _draw_chance(axes: Axes, chance: float | None) -> None:
    axes.set(ylim=(0, 1.02), yticks=(0, 0.5, 1))
    if chance is not None:
        axes.axhline(chance, color=MUTED, linewidth=1, dashes=(3, 2))
        axes.annotate(
            "chance", (1, chance), (0, -2), ("axes fraction", "data"), "offset points",
            ha="right", va="top", color=MUTED, fontsize=9.5,
        )  # fmt: skip


def _scale_losses(axes: Axes, limits: tuple[float, float]) -> None:
    low, high = limits
    axes.set(yscale="log", ylim=limits)
    candidates = LogLocator(subs=(1, 2, 5)).tick_values(low, high), MaxNLocator(3).tick_values(low, high)
    ticks = [[tick for tick in found if low <= tick <= high] for found in candidates]
    chosen = ticks[0] if len(ticks[0]) >= 2 else ticks[1]
    axes.yaxis.set_major_locator(FixedLocator(chosen[:: math.ceil(len(chosen) / 5)]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
