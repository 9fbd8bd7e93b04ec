"""The plot of the lwlrap by the number of clips: every training, and the fitted curve with its interval."""

from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from audiotagging.report.plots import ACCENT, MUTED, SECOND, STYLE, WIDTH, svg

HEIGHT = 240.0  # points


def curve_plot(content: dict[str, Any]) -> str:
    """Draw the curve up to the clips that there are, and dashed beyond them. The axis of the clips is logarithmic.

    Args:
        content: The content of `learning_curve.json`, as `audiotagging.studies.learning_curve` describes it.
    """
    curve, trainings = content["curve"], content["trainings"]
    clips = [row["clips"] for row in curve]
    ticks = sorted({training["clips"] for training in trainings if training["draw"] == 1})
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), layout="constrained")
        axes = figure.subplots()
        axes.fill_between(
            clips, [row["low"] for row in curve], [row["high"] for row in curve], color=ACCENT, alpha=0.2, linewidth=0
        )
        for rows, dashes in (
            ([row for row in curve if row["clips"] <= content["clips"]], (1, 0)),
            ([row for row in curve if row["clips"] >= content["clips"]], (4, 2)),
        ):
            axes.plot(
                [row["clips"] for row in rows],
                [row["score"] for row in rows],
                color=ACCENT,
                linewidth=1.3,
                dashes=dashes,
            )
        axes.plot(
            [training["clips"] for training in trainings], [training["lwlrap"] for training in trainings],
            "o", color=SECOND, markersize=4, clip_on=False,
        )  # fmt: skip
        axes.set(xscale="log", xlim=(clips[0] * 0.95, clips[-1]))
        axes.xaxis.set_major_locator(FixedLocator([*ticks, *([clips[-1]] if clips[-1] > 1.3 * ticks[-1] else [])]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.set_xlabel("curated clips", fontsize=9.5)
        axes.set_title("lwlrap", color=MUTED)
        axes.grid(axis="y")
        axes.tick_params(axis="y", labelcolor=MUTED, labelsize=9.5)
        return svg(figure, "lwlrap by the number of curated clips, and what more clips are expected to bring")
