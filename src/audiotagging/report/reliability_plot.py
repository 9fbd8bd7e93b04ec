"""The plot of how often a tag is right, by its score."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from audiotagging.report.plots import ACCENT, MUTED, SECOND, STYLE, WIDTH, svg

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
