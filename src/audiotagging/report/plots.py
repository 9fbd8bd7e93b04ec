"""Plots as SVG that takes its colours and fonts from the page, in light and in dark mode; and the dot plot.

The plots are drawn in placeholder colours, each of which stands for a role such as "ink". In the SVG, a variable of the
page's style sheet replaces each placeholder. All plots are `WIDTH` points wide: a narrow screen shows one of them with
its text at full size, and a wide screen shows several side by side.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

WIDTH = 360.0  # points
ROW = 18.0  # points, the height of a row of a dot plot
NOTE = 42.0  # points, the width of a column of notes
TICK = 45.0  # points, the minimum distance between ticks
LONGEST_LABEL = 32  # characters; longer labels are shortened

INK, MUTED, RULE, ACCENT, SECOND, PAPER = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
ROLES = {INK: "ink", MUTED: "muted", RULE: "rule", ACCENT: "accent", SECOND: "second", PAPER: "paper"}

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


@contextmanager
def row_axes(
    labels: Sequence[str], *, headers: Sequence[str], limits: tuple[float, float], row: float, longest: int
) -> Iterator[Axes]:
    """Provide axes with one labelled row per entry, from top to bottom at 0, 1, ..., and the headers above at -1.

    Args:
        labels: Labels of the rows.
        headers: Headers of the columns of notes to the right.
        limits: Both ends of the horizontal axis.
        row: Height of a row in points.
        longest: Number of characters to reserve for labels.
    """
    height = row * (len(labels) + 1) + 26
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH / 72, height / 72))
        left, right = 10 + 5.6 * min(longest, LONGEST_LABEL), WIDTH - NOTE * len(headers) - 6
        axes = figure.add_axes((left / WIDTH, 24 / height, (right - left) / WIDTH, row * (len(labels) + 1) / height))
        axes.set(xlim=limits, ylim=(len(labels) - 0.5, -1.5), yticks=[])
        axes.xaxis.set_major_locator(
            MaxNLocator(max(2, int((right - left) / TICK)), steps=[1, 2, 5, 10], min_n_ticks=2)
        )
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        for place, label in enumerate(labels):
            axes.annotate(
                _shorten(label, LONGEST_LABEL),
                (0, place),
                (-left, 0),
                ("axes fraction", "data"),
                "offset points",
                va="center",
            )
        notes(axes, -1, headers, MUTED)
        yield axes


def notes(axes: Axes, place: float, texts: Sequence[str], colour: str = INK) -> None:
    """Write texts to the right of a row, one per column."""
    for column, text in enumerate(texts, 1):
        axes.annotate(
            text, (1, place), (NOTE * column + 4, 0), ("axes fraction", "data"), "offset points",
            ha="right", va="center", color=colour, fontsize=9.5,
        )  # fmt: skip


def dot_plot(
    rows: Sequence[Dot],
    *,
    description: str,
    headers: Sequence[str],
    limits: tuple[float, float],
    line: float | None = None,
    line_label: str = "",
    label_length: int | None = None,
) -> str:
    """Draw one value with its interval per row.

    Args:
        rows: The rows, from top to bottom.
        description: What the plot shows, for screen readers.
        headers: Headers of the columns of notes.
        limits: Both ends of the axis.
        line: Position of a vertical line, if there should be one.
        line_label: What the line stands for.
        label_length: Number of characters to reserve for labels; by default that of the longest label in `rows`.
    """
    longest = label_length or max(len(row.label) for row in rows)
    labels = [row.label for row in rows]
    with row_axes(labels, headers=headers, limits=limits, row=ROW, longest=longest) as axes:
        if line is not None:
            axes.axvline(line, color=MUTED, linewidth=1, dashes=(3, 2) if line_label else (1, 0))
            axes.annotate(
                line_label, (line, -1), (4, 0), "data", "offset points", va="center", color=MUTED, fontsize=9.5
            )
        for strong, colour in ((False, ACCENT), (True, SECOND)):
            places = [place for place, row in enumerate(rows) if row.strong == strong]
            lows, highs = [rows[place].low for place in places], [rows[place].high for place in places]
            axes.hlines(places, lows, highs, color=colour, linewidth=2, alpha=0.55)
            axes.plot([rows[place].value for place in places], places, "o", color=colour, markersize=5.5)
        for place, row in enumerate(rows):
            notes(axes, place, row.notes)
        return svg(axes.figure, description)


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def svg(figure: Any, description: str) -> str:
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
