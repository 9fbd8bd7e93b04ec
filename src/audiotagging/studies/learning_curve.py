"""Writes what more clips are expected to gain: `learning_curve.json`, `learning_curve.csv` and `learning_curve.html`.

`learning_curve.json` holds:

* `member`: the member that was trained, and `seed`.
* `more`: the number of clips that the gains are about.
* `clips`: the number of curated clips; `drawn`: of those that could be drawn; `noisy`: of the noisy clips that all
  trainings took too; `scored`: of the clips that were scored, `test` or `curated` ones as `part` says.
* `trainings`: `share`, `draw`, `clips` and `lwlrap` of every training.
* `scores`, `curve`, `gains`: of all classes together, as `gains.estimate_gains` returns them; and `chance`, the lwlrap
  of random scores.
* `classes`: one row per class, the largest expected gain first: `label`, the number of `clips` with it and of those
  that were `scored`, `scores`, and the gain: `expected`, `low` and `high`, which are null if there are too few clips.
* `unknown`: the classes that no clip was scored of, or that no clip could be drawn of.
"""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from audiotagging.artifacts.predictions import read_predictions
from audiotagging.artifacts.spectrogram_shards import read_classes, read_clips
from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_file
from audiotagging.base.spreadsheet import to_field
from audiotagging.base.typed_json import write_json
from audiotagging.members import Member
from audiotagging.report.plots import ACCENT, MUTED, SECOND, STYLE, WIDTH, Dot, dot_plot, svg
from audiotagging.report.report import ENVIRONMENT, figures, plots_of_classes, signed
from audiotagging.statistics.learning_curves import Sizes, estimate_gains, precisions_of
from audiotagging.statistics.metrics import chance, label_table

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


LEARNING_CURVE_FILES = "learning_curve"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A training, and the file of its predictions.

    Attributes:
        share: Share of the clips that it was trained on.
        draw: Number of the draw.
        clips: Number of clips that it was trained on.
        predictions: The file.
    """

    share: float
    draw: int
    clips: int
    predictions: Path


@dataclass(frozen=True, kw_only=True)
class StudyMetadata:
    """What all trainings have in common, as the module's docstring describes it."""

    member: Member
    seed: int
    more: int
    noisy: int
    part: str


def summarise(
    trained: Sequence[Trained], facts: StudyMetadata, *, spectrograms: Path, drawn: Sequence[str]
) -> dict[str, Any]:
    """Return the content of `learning_curve.json`.

    Args:
        trained: The trainings: every draw with every share.
        facts: What they have in common.
        spectrograms: The folder of shards.
        drawn: Names of the clips that could be drawn.

    Raises:
        UserError: If a table is corrupt, or if no class was scored that had a clip to draw.
    """
    classes, clips = read_classes(spectrograms), read_clips(spectrograms)
    labels = clips.set_index(["part", "clip"])["labels"]
    tables = [read_predictions(each.predictions) for each in trained]
    names = list(tables[0].rows["clip"])
    truth = label_table(labels[facts.part][names].tolist(), classes)
    shares, draws = (sorted({getattr(each, name) for each in trained}) for name in ("share", "draw"))
    by_key = {(each.share, each.draw): table.scores for each, table in zip(trained, tables, strict=True)}
    precisions = precisions_of(truth, np.array([[by_key[share, draw] for draw in draws] for share in shares]))

    present = label_table(labels["curated"].tolist(), classes).sum(axis=0)
    available = label_table(labels["curated"][list(drawn)].tolist(), classes).sum(axis=0)
    known = np.flatnonzero(truth.any(axis=0) & (available > 0))
    if not len(known):
        raise UserError(f"{spectrograms}: expected a class with clips to train on and to score, found none; add clips")
    scored, known_precisions = truth[:, known], precisions[..., known]
    estimated = estimate_gains(
        scored,
        known_precisions,
        shares=np.array(shares),
        whole=Sizes(np.array(len(drawn)), np.array(len(labels["curated"]))),
        classes=Sizes(available[known], present[known]),
        more=facts.more,
    )
    rows = [
        {"label": classes[column], "clips": int(present[column]), "scored": int(truth[:, column].sum())} | row
        for column, row in zip(known, estimated.pop("classes"), strict=True)
    ]
    return {
        **asdict(facts),
        "clips": len(labels["curated"]),
        "drawn": len(drawn),
        "scored": len(names),
        "chance": chance(scored),
        "trainings": [
            {"share": each.share, "draw": each.draw, "clips": each.clips}
            | {"lwlrap": float(known_precisions[shares.index(each.share), draws.index(each.draw)].sum() / scored.sum())}
            for each in trained
        ],
        **estimated,
        "classes": sorted(rows, key=_by_gain),
        "unknown": [label for column, label in enumerate(classes) if column not in known],
    }


def _by_gain(row: dict[str, Any]) -> tuple[bool, float, str]:
    """Sort rows by their expected gain, largest first; then those that have too few clips to say, the fewest first."""
    if row["expected"] is None:
        return True, row["clips"], row["label"]
    return False, -row["expected"], row["label"]


def is_clear(gain: dict[str, Any]) -> bool:
    """Return whether the interval of a gain is above 0."""
    return gain["low"] is not None and gain["low"] > 0


def write_gains(folder: Path, content: dict[str, Any]) -> None:
    """Write `learning_curve.json`, `learning_curve.csv` and `learning_curve.html` to a folder.

    Args:
        folder: An existing folder.
        content: From `summarise`.
    """
    with atomic_file(folder / f"{LEARNING_CURVE_FILES}.json") as partial:
        write_json(partial, content)
    with atomic_file(folder / f"{LEARNING_CURVE_FILES}.csv") as partial:
        _write_table(partial, content)
    with atomic_file(folder / f"{LEARNING_CURVE_FILES}.html") as partial:
        partial.write_text(render(content), encoding="utf-8")


def _write_table(path: Path, content: dict[str, Any]) -> None:
    shares = sorted({each["share"] for each in content["trainings"]})
    columns = [f"lwlrap_{100 * share:.0f}_percent" for share in shares]
    rows = [
        [to_field(row["label"]), row["clips"], row["scored"], *row["scores"], row["expected"], row["low"], row["high"]]
        for row in content["classes"]
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["label", "clips", "scored_clips", *columns, "expected_gain", "low", "high"])
        writer.writerows([[f"{each:.6g}" if isinstance(each, float) else each for each in row] for row in rows])


def render(content: dict[str, Any]) -> str:
    """Return the page.

    Args:
        content: From `summarise`.
    """
    told = [row for row in content["classes"] if row["expected"] is not None]
    return ENVIRONMENT.get_template("gains.html.jinja").render(
        content=content,
        figure=figures(content),
        shares=sorted({each["share"] for each in content["trainings"]}),
        is_clear=is_clear,
        told=told,
        silent=[row for row in content["classes"] if row["expected"] is None],
        curve=Markup(curve_plot(content)),
        class_plots=plots_of_classes(
            told,
            _gain_plot,
            label_length=max((len(row["label"]) for row in told), default=0),
            more=content["more"],
            limits=_limits(told),
        ),
    )


def _limits(rows: Sequence[dict[str, Any]]) -> tuple[float, float]:
    ends = [0.0, *(row["low"] for row in rows), *(row["high"] for row in rows)]
    margin = 0.08 * (max(ends) - min(ends)) + 1e-4
    return min(ends) - margin, max(ends) + margin


def _gain_plot(
    rows: Sequence[dict[str, Any]], *, part: str, label_length: int, more: int, limits: tuple[float, float]
) -> str:
    dots = [
        Dot(
            label=row["label"],
            value=row["expected"],
            low=row["low"],
            high=row["high"],
            notes=(signed(row["expected"]), f"{row['clips']}"),
            strong=is_clear(row),
        )
        for row in rows
    ]
    return dot_plot(
        dots,
        description=f"Expected gain of each class from {more} more clips of it, largest first, {part}",
        headers=["gain", "clips"],
        limits=limits,
        line=0.0,
        label_length=label_length,
    )
