"""The report: one self-contained HTML page that needs no network and no scripts.

The template is `report.html.jinja`. Every number in it is a `<data>` element that names the entry of `scores.json` that
it shows, so that a test can compare the two.
"""

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from audiotagging.results.plots import Dot, dot_plot, learning_curves
from audiotagging.results.run_facts import FRAMES_PER_SECOND, TrainedModel

SETS = {"all": "all test clips", "public": "public", "private": "private", "out_of_fold": "out of fold"}
CLASSES_PER_PLOT = 27
PICTURE_WIDTH = 360  # pixels
CLIPS_SHOWN = 200

ENVIRONMENT = Environment(
    loader=PackageLoader("audiotagging.results", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(scores: dict[str, Any], *, models: Sequence[TrainedModel], pictures: Mapping[str, np.ndarray]) -> str:
    """Return the report as HTML.

    Args:
        scores: The content of `scores.json`, as `audiotagging.results.evaluation` describes it.
        models: The trained models, for their learning curves.
        pictures: Spectrograms of the worst clips, each uint8 and of shape (frames, 128).
    """
    estimates = scores["estimates"].get(scores.get("scored"))
    members = list(scores["members"])
    if estimates:
        members.sort(key=lambda member: -estimates["members"][member]["score"])
    return ENVIRONMENT.get_template("report.html.jinja").render(
        scores=scores,
        estimates=estimates,
        members=members,
        sets=SETS,
        figure=_figures(scores),
        member_plot=estimates and _member_plot(estimates, members),
        without_plot=estimates and _without_plot(estimates),
        class_plots=_class_plots(scores.get("classes", [])),
        curves=_curves(models),
        pictures={
            clip: {"url": _picture(spectrogram), "seconds": len(spectrogram) / FRAMES_PER_SECOND}
            for clip, spectrogram in pictures.items()
        },
        clips_shown=CLIPS_SHOWN,
    )


def signed(value: float) -> str:
    """Format a difference of scores with its sign. The minus sign is as wide as a plus sign."""
    rounded = f"{abs(value):.3f}"
    return rounded if float(rounded) == 0 else ("+" if value > 0 else "\N{MINUS SIGN}") + rounded


def duration(seconds: float) -> str:
    """Format a duration: seconds below a minute, otherwise hours and minutes."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


STYLES: dict[str, Callable[[Any], str]] = {
    "score": "{:.3f}".format,
    "signed": signed,
    "count": "{:,.0f}".format,
    "rate": lambda value: f"{value:,.1f}" if value < 10 else f"{value:,.0f}",
    "percent": "{:.0%}".format,
    "duration": duration,
}


def _figures(scores: dict[str, Any]) -> Callable[..., Markup]:
    """Return a function that formats an entry of the scores, given by its path of keys, as a `<data>` element."""

    def figure(*path: Any, style: str = "score") -> Markup:
        value: Any = scores
        for key in path:
            value = value[key]
        name = "/".join(str(key) for key in path)
        return Markup('<data value="{}" data-of="{}" data-style="{}">{}</data>').format(
            value, name, style, STYLES[style](value)
        )

    return figure


def _member_plot(estimates: dict[str, Any], members: Sequence[str]) -> Markup:
    systems = {"ensemble": estimates["ensemble"]} | estimates.get("baseline", {})
    systems |= {member: estimates["members"][member] for member in members}
    rows = [
        Dot(
            label=name,
            value=system["score"],
            low=system["low"],
            high=system["high"],
            notes=(f"{system['score']:.3f}",),
            strong=name == "ensemble",
        )
        for name, system in systems.items()
    ]
    limits = _limits(rows)
    return Markup(
        dot_plot(rows, description="lwlrap of the ensemble and its members", headers=["lwlrap"], limits=limits)
    )


def _without_plot(estimates: dict[str, Any]) -> Markup | None:
    without = estimates["without"]
    rows = [
        Dot(
            label=member,
            value=-without[member]["difference"],
            low=-without[member]["difference_high"],
            high=-without[member]["difference_low"],
            notes=(signed(-without[member]["difference"]),),
        )
        for member in sorted(without, key=lambda member: -without[member]["difference"])
    ]
    if not rows:
        return None
    description = "Change of the ensemble's lwlrap when one member is left out"
    return Markup(dot_plot(rows, description=description, headers=["change"], limits=_limits(rows, 0.0), line=0.0))


def _limits(rows: Sequence[Dot], *others: float) -> tuple[float, float]:
    ends = [*(row.low for row in rows), *(row.high for row in rows), *others]
    margin = 0.08 * (max(ends) - min(ends)) + 1e-4
    return min(ends) - margin, max(ends) + margin


def _class_plots(classes: Sequence[dict[str, Any]]) -> list[Markup]:
    """Return plots with about the same number of classes each, three of them if there are enough classes."""
    plots = []
    count = max(math.ceil(len(classes) / CLASSES_PER_PLOT), min(3, math.ceil(len(classes) / 8)))
    for number, rows in enumerate(np.array_split(np.array(classes, dtype=object), count) if count else [], 1):
        dots = [
            Dot(
                label=row["label"],
                value=row["score"],
                low=row["low"],
                high=row["high"],
                notes=(f"{row['score']:.3f}", f"{row['clips']}"),
            )
            for row in rows
        ]
        plot = dot_plot(
            dots,
            description=f"lwlrap of each class, best first, part {number} of {count}",
            headers=["lwlrap", "clips"],
            limits=(0.0, 1.02),
            label_length=max(len(row["label"]) for row in classes),
        )
        plots.append(Markup(plot))
    return plots


def _curves(models: Sequence[TrainedModel]) -> dict[str, Markup]:
    histories: dict[str, dict[int, Any]] = {}
    for model in models:
        histories.setdefault(model.facts.member.id, {})[model.facts.fold] = model.history
    return {member: Markup(learning_curves(folds, member=member)) for member, folds in histories.items()}


def _picture(spectrogram: np.ndarray) -> str:
    """Return a spectrogram as a PNG data URL: low mels at the bottom, long clips averaged to `PICTURE_WIDTH` pixels."""
    pixels = spectrogram.T[::-1]  # (128, frames)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if image.width > PICTURE_WIDTH:
        image = image.resize((PICTURE_WIDTH, image.height), Image.Resampling.BOX)
    palette = (mpl.colormaps["magma"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    image.putpalette(palette.tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
