"""The report's plots, as SVG that takes its colours and fonts from the page, in light and in dark mode.

The plots are drawn in placeholder colours, each of which stands for a role such as "ink". In the SVG, a variable of the
page's style sheet replaces each placeholder. All plots are `WIDTH` points wide: a narrow screen shows one of them with
its text at full size, and a wide screen shows several side by side.
"""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

WIDTH = 360.0  # points
ROW = 18.0  # points, the height of a row of a dot plot
TICK = 45.0  # points, the minimum distance between ticks
LONGEST_LABEL = 32  # characters; longer labels are shortened

INK, MUTED, RULE, ACCENT, SECOND = "#010101", "#020202", "#030303", "#040404", "#050505"
ROLES = {INK: "ink", MUTED: "muted", RULE: "rule", ACCENT: "accent", SECOND: "second"}

STYLE: dict[Any, Any] = {
    "text.parse_math": False,
    "svg.fonttype": "none",  # keep text as text, so that it uses the page's font and can be selected
    "figure.dpi": 72,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.size": 10.5,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.linewidth": 1.0,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 10.5,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "lines.solid_capstyle": "butt",
}


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A row of a dot plot.

    Attributes:
        label: Name of the row.
        value: Position of the dot.
        low: Start of its interval.
        high: End of its interval.
        notes: Texts to the right of the plot, one per column.
        strong: Whether the row is highlighted.
    """

    label: str
    value: float
    low: float
    high: float
    notes: tuple[str, ...]
    strong: bool = False


def dot_plot(
    rows: Sequence[Dot],
    *,
    description: str,
    headers: Sequence[str],
    limits: tuple[float, float],
    line: float | None = None,
    label_length: int | None = None,
) -> str:
    """Draw one value with its interval per row.

    Args:
        rows: The rows, from top to bottom.
        description: What the plot shows, for screen readers.
        headers: Headers of the columns of notes.
        limits: Both ends of the axis.
        line: Position of a vertical line, if there should be one.
        label_length: Number of characters to reserve for labels; by default that of the longest label in `rows`.
    """
    height = ROW * (len(rows) + 1) + 26
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH / 72, height / 72))
        note_width = 42.0
        length = min(label_length or max(len(row.label) for row in rows), LONGEST_LABEL)
        left, right = 10 + 5.6 * length, WIDTH - note_width * len(headers) - 6
        axes = figure.add_axes((left / WIDTH, 24 / height, (right - left) / WIDTH, ROW * (len(rows) + 1) / height))
        axes.set(xlim=limits, ylim=(len(rows) - 0.5, -1.5), yticks=[])
        axes.xaxis.set_major_locator(
            MaxNLocator(max(2, int((right - left) / TICK)), steps=[1, 2, 3, 5, 10], min_n_ticks=2)
        )
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        if line is not None:
            axes.axvline(line, color=MUTED, linewidth=1)
        for strong, colour in ((False, ACCENT), (True, SECOND)):
            places = [place for place, row in enumerate(rows) if row.strong == strong]
            lows, highs = [rows[place].low for place in places], [rows[place].high for place in places]
            axes.hlines(places, lows, highs, color=colour, linewidth=2, alpha=0.55)
            axes.plot([rows[place].value for place in places], places, "o", color=colour, markersize=5.5)
        for place, row in enumerate(rows):
            axes.annotate(
                _shorten(row.label, LONGEST_LABEL),
                (0, place),
                (-left, 0),
                ("axes fraction", "data"),
                "offset points",
                va="center",
            )
            _notes(axes, place, row.notes, note_width, INK)
        _notes(axes, -1, headers, note_width, MUTED)
        return _svg(figure, description)


def _notes(axes: Axes, place: float, notes: Sequence[str], width: float, colour: str) -> None:
    for column, note in enumerate(notes, 1):
        axes.annotate(
            note, (1, place), (width * column + 4, 0), ("axes fraction", "data"), "offset points",
            ha="right", va="center", color=colour, fontsize=9.5,
        )  # fmt: skip


def learning_curves(histories: Mapping[int, pd.DataFrame], *, member: str) -> str:
    """Draw the training loss of a member and, if it was validated, its lwlrap by epoch, with one line per fold.

    Args:
        histories: One table per fold, with the columns `epoch`, `loss` and `lwlrap` and one row per epoch.
        member: Id of the member.
    """
    validated = any(history["lwlrap"].notna().any() for history in histories.values())
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH / 72, (220 if validated else 130) / 72), layout="constrained")
        plots = figure.subplots(2 if validated else 1, 1, sharex=True, squeeze=False)[:, 0]
        figure.suptitle(member, x=0.0, ha="left", fontsize=10.5, fontweight="bold")
        panels = [("loss", ACCENT, plots[-1])] + ([("lwlrap", SECOND, plots[0])] if validated else [])
        for column, colour, axes in panels:
            for history in histories.values():
                points = history.dropna(subset=[column])
                marker = "o" if column == "lwlrap" or len(points) == 1 else ""
                axes.plot(points["epoch"], points[column], color=colour, linewidth=1.3, marker=marker, markersize=3)
            axes.set_title("training loss" if column == "loss" else "lwlrap on the held-out fold", color=colour)
            axes.grid(axis="y")
            axes.tick_params(axis="y", labelcolor=MUTED, labelsize=9.5)
            axes.yaxis.set_major_locator(MaxNLocator(3))
            axes.set_xlim(0, None)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        plots[-1].set_ylim(_settled([history["loss"] for history in histories.values()]))
        if validated:
            plots[0].set(ylim=(0, 1), yticks=(0, 0.5, 1))
        plots[-1].set_xlabel("epoch", fontsize=9.5)
        return _svg(figure, f"{member}: loss and lwlrap by epoch")


def _settled(losses: Sequence[pd.Series]) -> tuple[float, float]:
    """Return axis limits that fit all but the first fifth of the epochs, whose high losses would flatten the rest."""
    later = pd.concat([loss.iloc[len(loss) // 5 :] for loss in losses])
    margin = 0.15 * (later.max() - later.min()) + 1e-3 * later.max()
    return later.min() - margin, later.max() + margin


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _svg(figure: Figure, description: str) -> str:
    """Return a figure as an SVG element that uses the page's colours."""
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": description}):  # makes the ids of each plot unique on the page
        FigureCanvasSVG(figure).print_svg(text, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    viewbox = re.search(r'viewBox="[^"]*"', svg)
    assert viewbox
    svg = f'<svg role="img" aria-label="{escape(description)}" {viewbox[0]}>' + svg[svg.index(">") + 1 :]
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # it would apply to the whole page
    svg = re.sub(r' id="(?![mp][0-9a-f]{10}")[^"]*"', "", svg)  # nothing refers to them
    svg = re.sub(r" font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r' transform="rotate\(-0 [^"]*"', "", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg)
    for colour, role in ROLES.items():
        svg = svg.replace(colour, f"var(--{role})")
    return svg
