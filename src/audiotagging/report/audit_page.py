"""The page `audit.html`: shows suspicious clips, takes decisions on their labels, and saves them as `corrections.csv`.

Its script is `page/audit.js`. It needs no network and no server. The report links to it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from audiotagging.artifacts.excerpts import Excerpt
from audiotagging.base.files import atomic_file
from audiotagging.evaluation.mistakes import PER_CLASS
from audiotagging.report.clips import choose_players, draw_clip, time_axis
from audiotagging.report.report import ENVIRONMENT, PAGE_BYTES, length

AUDIT_PAGE = "audit.html"
CLIPS_SHOWN = 100  # pictures have at most 62 kB, so the page stays below `PAGE_BYTES`


def write_audit(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    seconds: Mapping[str, float],
    pictures: Mapping[str, np.ndarray],
    excerpts: Mapping[str, Excerpt],
    classes: Sequence[str],
) -> None:
    """Write the page.

    Args:
        path: The HTML file to write.
        rows: The suspicious clips, as `audit.suspicious_clips` returns them. The first `CLIPS_SHOWN` are shown.
        seconds: The lengths of these clips.
        pictures: Their spectrograms, each uint8 and of shape (frames, 128).
        excerpts: Excerpts of them, as far as there are any. As many get players as fit on a page of `PAGE_BYTES`.
        classes: The classes.
    """
    shown = [
        {**row, "seconds": seconds[row["clip"]], "proposed": proposed_labels(row, classes)}
        for row in rows[:CLIPS_SHOWN]
    ]
    for row in shown:
        if row["clip"] in excerpts:
            excerpt = excerpts[row["clip"]]
            row["heard"] = [excerpt.start, excerpt.start + excerpt.seconds]
    axis = time_axis([row["seconds"] for row in shown]) if shown else None
    draw = partial(
        ENVIRONMENT.get_template("audit.html.jinja").render,
        rows=shown,
        left_out=len(rows) - len(shown),
        per_class=PER_CLASS,
        page="audiotagging " + hashlib.sha256(json.dumps(rows).encode()).hexdigest(),  # decisions are kept under it
        classes=list(classes),
        axis=axis,
        pictures={
            row["clip"]: axis and draw_clip(pictures[row["clip"]], seconds=row["seconds"], axis=axis) for row in shown
        },
        length=length,
    )
    room = PAGE_BYTES - len(draw(players={}).encode())
    page = draw(players=choose_players(excerpts, clips=[row["clip"] for row in shown], room=room))
    with atomic_file(path) as partial_file:
        partial_file.write_text(page, encoding="utf-8")


def proposed_labels(row: Mapping[str, Any], classes: Sequence[str]) -> list[str]:
    """Return the labels of a suspicious clip with the one in doubt replaced, in the order of the classes.

    Examples:
        >>> row = {"labels": ["Bark", "Rain"], "label": "Bark", "instead": "Wind"}
        >>> proposed_labels(row, ["Bark", "Rain", "Wind"])
        ['Rain', 'Wind']
    """
    labels = {*row["labels"], row["instead"]} - {row["label"]}
    return [name for name in classes if name in labels]
