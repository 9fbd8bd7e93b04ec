"""The report: one self-contained HTML page that needs no network and no scripts.

The template is `page/report.html.jinja`, which includes one template per section. Every number is a `<data>` element
that names the entry of `scores.json` that it shows, so that a test can compare the two.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from audiotagging.artifacts.champions_folder import BY_HAND
from audiotagging.artifacts.excerpts import Excerpt
from audiotagging.base.wording import duration
from audiotagging.evaluation.run_metadata import TrainedModel
from audiotagging.members import LINEAR
from audiotagging.report.clips import choose_players, draw_clip, time_axis
from audiotagging.report.figures import (
    ScoreRow,
    champions_plot,
    learning_curves,
    loss_limits,
    measured_candidates,
    reliability_plot,
    score_limits,
    score_plot,
)
from audiotagging.report.plots import Dot, dot_plot

SETS = {"all": "all test clips", "public": "public", "private": "private", "out_of_fold": "out of fold"}
PAGE_BYTES = 8_000_000  # the page is sent around, and Kubeflow shows it in a frame
CLASSES_PER_PLOT = 27
CLIPS_SHOWN = 200  # in lists of clips; files beside the report have all of them
CLIPS_OPEN = 6  # of the worst clips; the others are folded
CLASSES_OPEN = 20  # a heat map of more classes is folded

ENVIRONMENT = Environment(
    loader=PackageLoader("audiotagging.report", "page"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(
    scores: dict[str, Any],
    *,
    models: Sequence[TrainedModel],
    pictures: Mapping[str, np.ndarray],
    excerpts: Mapping[str, Excerpt],
) -> str:
    """Return the report as HTML.

    Args:
        scores: The content of `scores.json`, as `audiotagging.report.evaluate` describes it.
        models: The trained models, for their learning curves.
        pictures: Spectrograms of the clips that are shown, each uint8 and of shape (frames, 128).
        excerpts: Excerpts of the clips that can be heard, as far as there are any. As many get players as fit on a page
            of `PAGE_BYTES`.
    """
    estimates = scores["estimates"].get(scores.get("scored"))
    members = list(scores["members"])
    if estimates:
        members.sort(key=lambda member: -estimates["members"][member]["score"])
    classes = scores.get("classes", [])
    described = [_score_row(row) for row in classes]
    longest = max((len(row["label"]) for row in classes), default=0)
    seconds = {row["clip"]: row["seconds"] for row in shown_clips(scores)}
    axis = time_axis(seconds.values()) if seconds else None
    draw = partial(
        ENVIRONMENT.get_template("report.html.jinja").render,
        scores=scores,
        estimates=estimates,
        members=members,
        sets=SETS,
        figure=figures(scores),
        member_plot=estimates and _member_plot(estimates, members),
        without_plot=estimates and _without_plot(estimates),
        class_plots=plots_of_classes(
            classes, _class_plot, label_length=longest, chance=estimates and estimates["chance"]
        ),
        score_plots=plots_of_classes(
            described, _score_plot, label_length=longest, limits=classes and score_limits(described)
        ),
        reliability=_reliability(scores),
        curves=_curves(models, chance=scores["estimates"].get("out_of_fold", {}).get("chance")),
        champions_plot=_champions_plot(scores),
        by_hand=BY_HAND,
        axis=axis,
        pictures={
            clip: axis and draw_clip(spectrogram, seconds=seconds[clip], axis=axis)
            for clip, spectrogram in pictures.items()
        },
        clips_shown=CLIPS_SHOWN,
        clips_open=CLIPS_OPEN,
        classes_open=CLASSES_OPEN,
    )
    silent = draw(players={}, left_out=0)
    if not excerpts:
        return silent
    heard = [row["clip"] for row in heard_clips(scores)]
    players = choose_players(excerpts, clips=heard, room=PAGE_BYTES - len(silent.encode()))
    return draw(players=players, left_out=len(excerpts) - len(players))


def shown_clips(scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the descriptions of all clips that the report shows. A clip may have several."""
    examples = [clip for pair in scores.get("confusions", []) for clip in pair["examples"]]
    return [*scores.get("worst", []), *examples]


def heard_clips(scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the descriptions of all clips that can be heard, the most important ones first."""
    return [*shown_clips(scores), *(row["best"] for row in scores.get("classes", []))]


def breakable(name: str) -> Markup:
    """Allow a line break after every underscore of a name, for narrow screens."""
    return Markup("_<wbr>").join(name.split("_"))


ENVIRONMENT.filters["breakable"] = breakable


def signed(value: float) -> str:
    """Format a difference of scores with its sign. The minus sign is as wide as a plus sign."""
    rounded = f"{abs(value):.3f}"
    return rounded if float(rounded) == 0 else ("+" if value > 0 else "\N{MINUS SIGN}") + rounded


def length(seconds: float) -> str:
    """Format the length of a clip, with at least two digits."""
    return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"


def memory(size: float) -> str:
    """Format a number of bytes in MiB or GiB."""
    return f"{size / 2**20:.0f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"


STYLES: dict[str, Callable[[Any], str]] = {
    "score": "{:.3f}".format,
    "short": "{:.2f}".format,
    "signed": signed,
    "count": "{:,.0f}".format,
    "rate": lambda value: f"{value:,.1f}" if value < 10 else f"{value:,.0f}",
    "percent": "{:.0%}".format,
    "fraction": lambda value: f"{100 * value:.2g}%",
    "duration": duration,
    "length": length,
    "memory": memory,
}


def figures(scores: dict[str, Any]) -> Callable[..., Markup]:
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
    if "linear" in estimates and LINEAR not in members:
        systems["linear model"] = estimates["linear"]["linear"]
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
    low, _ = _limits(rows, estimates["chance"], 1.0)
    return Markup(
        dot_plot(
            rows,
            description="lwlrap of the ensemble, its members and a linear model",
            headers=["lwlrap"],
            limits=(low, 1.01),
            line=estimates["chance"],
            line_label="chance",
        )
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


def plots_of_classes(classes: Sequence[Any], draw: Callable[..., str], **options: Any) -> list[Markup]:
    """Return plots with about the same number of classes each, three of them if there are enough classes."""
    count = max(math.ceil(len(classes) / CLASSES_PER_PLOT), min(3, math.ceil(len(classes) / 8)))
    pieces = np.array_split(np.array(classes, dtype=object), count) if count else []
    return [Markup(draw(rows, part=f"part {number} of {count}", **options)) for number, rows in enumerate(pieces, 1)]


def _class_plot(rows: Sequence[dict[str, Any]], *, part: str, label_length: int, chance: float) -> str:
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
    return dot_plot(
        dots,
        description=f"lwlrap of each class, best first, {part}",
        headers=["lwlrap", "clips"],
        limits=(0.0, 1.02),
        line=chance,
        line_label="chance",
        label_length=label_length,
    )


def _score_row(row: dict[str, Any]) -> ScoreRow:
    return ScoreRow(
        label=row["label"],
        with_label=row["with_label"],
        without_label=row.get("without_label", []),
        threshold=row.get("threshold"),
    )


def _score_plot(rows: Sequence[ScoreRow], *, part: str, label_length: int, limits: tuple[float, float]) -> str:
    description = f"Scores of clips with and without the label, {part}"
    return score_plot(rows, description=description, limits=limits, label_length=label_length)


def _reliability(scores: Mapping[str, Any]) -> Markup | None:
    if "calibration" not in scores:
        return None
    described = scores["calibration"]["sets"][scores["scored"]]
    return Markup(reliability_plot({kind: described[kind]["bins"] for kind in ("uncalibrated", "calibrated")}))


def _champions_plot(scores: Mapping[str, Any]) -> Markup | None:
    events = scores.get("champions", [])
    return Markup(champions_plot(events)) if measured_candidates(events) else None


def _curves(models: Sequence[TrainedModel], *, chance: float | None) -> dict[str, Markup]:
    """Draw the learning curves of every network. Members with the same loss share its axis."""
    histories: dict[str, dict[int, Any]] = {}
    losses: dict[str, list[Any]] = {}
    loss_of = {}
    for model in models:
        member = model.facts.member
        if member.network == LINEAR:
            continue  # it is fitted at once
        histories.setdefault(member.id, {})[model.facts.fold] = model.history
        losses.setdefault(member.loss, []).append(model.history["loss"])
        loss_of[member.id] = member.loss
    limits = {loss: loss_limits(curves) for loss, curves in losses.items()}
    return {
        member: Markup(learning_curves(folds, member=member, losses=limits[loss_of[member]], chance=chance))
        for member, folds in histories.items()
    }
