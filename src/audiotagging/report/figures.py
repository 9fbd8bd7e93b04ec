"""The plots of the report: scores with and without a label, reliability, champions, and trainings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, LogLocator, MaxNLocator, NullLocator

from audiotagging.artifacts.champions_folder import Event
from audiotagging.report.plots import ACCENT, INK, MUTED, PAPER, SECOND, STYLE, WIDTH, notes, row_axes, svg

HEIGHTS = {"lwlrap": 95.0, "loss": 105.0, "lr": 62.0}  # points
TITLES = {"lwlrap": "lwlrap on the held-out fold", "loss": "training loss", "lr": "learning rate"}
CURVE_COLOURS = {"lwlrap": SECOND, "loss": ACCENT, "lr": MUTED}
ROW = 20.0  # points


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
                    points["epoch"],
                    points[column],
                    color=CURVE_COLOURS[column],
                    linewidth=1.3,
                    marker=marker,
                    markersize=3,
                )
            axes.set_title(TITLES[column], color=CURVE_COLOURS[column])
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


SHOWN = 30  # versions, the newest


def measured_candidates(events: Sequence[Event]) -> list[Event]:
    """Return the newest candidates that were measured, oldest first, at most `SHOWN` of them."""
    return [event for event in events if event["action"] == "candidate" and "measured" in event][-SHOWN:]


def champions_plot(events: Sequence[Event]) -> str:
    """Draw the lwlrap of versions with its interval, and that of the best champion of their time on the same clips.

    Args:
        events: The history of the champions, with at least one of `measured_candidates`.
    """
    used = {event["after"] for event in events}
    shown = measured_candidates(events)
    scores = [event["measured"] for event in shown]
    against = [event["decision"].get("comparison") for event in shown]
    ends = [score[end] for score in scores for end in ("low", "high")] + [each["champion"] for each in against if each]
    space = 0.06 * (max(ends) - min(ends)) + 1e-3
    labels = [f"{event['when'][:10]} {event['version'][:8]}" for event in shown]
    with row_axes(
        labels,
        headers=["lwlrap"],
        limits=(min(ends) - space, max(ends) + space),
        row=ROW,
        longest=len(labels[0]),
    ) as axes:
        for place, (event, score, comparison) in enumerate(zip(shown, scores, against, strict=True)):
            colour = SECOND if event["version"] in used else ACCENT
            axes.hlines(place, score["low"], score["high"], color=colour, linewidth=2, alpha=0.55)
            axes.plot(score["score"], place, "o", color=colour, markersize=5.5)
            if comparison:
                axes.vlines(comparison["champion"], place - 0.36, place + 0.36, color=INK, linewidth=1.6)
            notes(axes, place, [f"{score['score']:.3f}"])
        return svg(axes.figure, "Every version with its lwlrap, and the best champion of its time on the same clips")


COLOURS = {"uncalibrated": ACCENT, "calibrated": SECOND}
HEIGHT = 240.0  # points


def reliability_plot(bins: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Draw a line per kind of score, and the diagonal on which a score is the share of tags that are right.

    Args:
        bins: By kind of score, a key of `COLOURS`: rows of `probability` and `share`.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), layout="constrained")
        axes = figure.subplots()
        axes.plot((0, 1), (0, 1), color=MUTED, linewidth=1)
        for kind, rows in bins.items():
            places = [row["probability"] for row in rows], [row["share"] for row in rows]
            axes.plot(*places, color=COLOURS[kind], linewidth=1.3, marker="o", markersize=4, label=kind, clip_on=False)
        axes.set(xlim=(0, 1), ylim=(0, 1), yticks=(0, 0.5, 1), xticks=(0, 0.25, 0.5, 0.75, 1))
        axes.set_xlabel("score", fontsize=9.5)
        axes.set_title("share of the tags that are right", color=MUTED)
        axes.grid(axis="y")
        axes.tick_params(axis="y", labelcolor=MUTED, labelsize=9.5)
        axes.legend(frameon=False, fontsize=9.5, loc="lower right")
        return svg(figure, "Share of the tags that are right, by their score")


EDGE = 0.001  # scores are drawn between this and 1 minus this
TICKS = (0.5, 0.1, 0.9, 0.01, 0.99, 0.001, 0.999, 0.2, 0.8, 0.05, 0.95, 0.02, 0.98, 0.3, 0.7)  # the first ones first
GAP = 30.0  # points, the minimum distance between ticks


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
