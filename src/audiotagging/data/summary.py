"""Summarises a data set: its clips, hours, labels and classes.

Decodes only the sounds whose headers do not say for certain how long they are.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from audiotagging.base.machine import threads
from audiotagging.base.progress import track
from audiotagging.base.wording import number, pluralize
from audiotagging.data.dataset import DataError, Dataset
from audiotagging.data.layouts.contents import PARTS
from audiotagging.data.layouts.tree import name_of
from audiotagging.sounds.audio import CLIP, duration
from audiotagging.sounds.recordings import Bound
from audiotagging.sounds.streams import SoundError

WIDEST = 40  # characters of the name of a class
CLASSES_SHOWN = 100
FILES_SHOWN = 100


def durations(dataset: Dataset, *, max_rejected: float) -> np.ndarray:
    """Read the duration of every clip.

    Args:
        dataset: The data set.
        max_rejected: Share of a part's clips that may be unreadable. Preprocessing leaves these clips out.

    Returns:
        Seconds, float64, shape (clips,). NaN for a clip that cannot be read or has no samples.

    Raises:
        DataError: If more clips of a part cannot be read.
    """
    clips = dataset.clips
    with ThreadPoolExecutor(threads()) as pool:
        found = pool.map(_duration, clips["path"], clips["start"], clips["end"])
        seconds, reasons = zip(*track(found, label="read audio headers", total=len(clips)), strict=True)
    unreadable = clips.assign(reason=reasons)[np.isnan(seconds)]
    problems = [
        f"{name_of(os.path.relpath(clip.path, dataset.folder))}: {clip.reason}"
        for part, rows in unreadable.groupby("part", sort=False)
        if len(rows) > max_rejected * (clips["part"] == part).sum()
        for clip in rows.itertuples()
    ]
    if problems:
        raise DataError(dataset.folder, list(dict.fromkeys(problems)))  # the clips of a recording have one reason
    return np.array(seconds)


def _duration(path: str, start: float, end: float) -> tuple[float, str]:
    """Return the seconds of a clip, or NaN and why it cannot be used."""
    try:
        return duration(Path(path), start=start, end=end, bound=CLIP if end == np.inf else Bound()), ""
    except SoundError as error:
        return np.nan, str(error)


def describe_incomplete(dataset: Dataset, heard: pd.DataFrame) -> list[str]:
    """Return what was not used of which files, one string per file.

    Args:
        dataset: The data set.
        heard: What was heard of every clip, as `audiotagging.data.preprocessing.listen` returns it.
    """
    rows = zip(dataset.clips["path"], heard["notes"], strict=True)
    notes = {path: "; ".join(found) for path, found in rows if found}  # the clips of a recording have the same
    lines = [f"{name_of(os.path.relpath(path, dataset.folder))}: {text}" for path, text in notes.items()]
    if len(lines) > FILES_SHOWN:
        lines[FILES_SHOWN:] = [f"and {pluralize(len(lines) - FILES_SHOWN, 'more file')} of which something is not used"]
    return lines


def describe_classes(dataset: Dataset, heard: pd.DataFrame) -> list[str]:
    """Return a table of the classes, one string per line.

    Args:
        dataset: The data set.
        heard: What was heard of every clip, as `audiotagging.data.preprocessing.listen` returns it.
    """
    rows = dataset.clips[["labels", "part"]].join(heard).explode("labels").dropna(subset="labels")
    columns = [("train", 6), ("test", 6), ("seconds", 9), ("shortest", 9), ("longest", 9)]
    columns += [(column, 11) for column in ("unreadable", "silent", "clipped")]
    width = min(WIDEST, max(map(len, dataset.classes)))
    lines = ["class".ljust(width) + "".join(f"{name:>{size}}" for name, size in columns)]
    for name, table in rows.groupby("labels"):
        test, seconds = (table["part"] == "test").sum(), table["seconds"][~table["unreadable"].astype(bool)]
        lengths = [seconds.sum(), seconds.min(), seconds.max()] if len(seconds) else [0.0, 0.0, 0.0]
        counts = [int(table[column].sum()) for column in ("unreadable", "silent", "clipped")]
        cells = [str(len(table) - test), str(test), *(f"{length:.1f}" for length in lengths), *map(str, counts)]
        sized = "".join(f"{cell:>{size}}" for cell, (_, size) in zip(cells, columns, strict=True))
        lines.append(f"{str(name)[:width]:<{width}}{sized}")
    if len(lines) > CLASSES_SHOWN + 1:
        lines[CLASSES_SHOWN + 1 :] = [f"and {pluralize(len(lines) - CLASSES_SHOWN - 1, 'more class')}"]
    return lines


def describe(dataset: Dataset, seconds: np.ndarray) -> list[str]:
    """Return a readable summary of the data, one string per line.

    Args:
        dataset: The data set.
        seconds: The duration of every clip, as `durations` returns it.
    """
    lines = [f"{'part':8} {'clips':>7} {'hours':>7} {'shortest':>9} {'longest':>9} {'labels per clip':>16}"]
    for part in PARTS:
        here = (dataset.clips["part"] == part).to_numpy()
        if here.any():
            lengths = seconds[here & ~np.isnan(seconds)]
            labels = [len(labels) for labels in dataset.clips["labels"][here] if labels]
            lines.append(
                f"{part:8} {here.sum():7} {lengths.sum() / 3600:7.2f} {lengths.min(initial=np.inf):7.2f} s "
                f"{lengths.max(initial=0):7.2f} s {np.mean(labels) if labels else 0:16.3f}"
            )
    unreadable = list(dataset.clips["clip"][np.isnan(seconds)])
    if unreadable:
        lines.append(f"left out because they cannot be read: {', '.join(unreadable)}")
    clips_of = dataset.clips[dataset.clips["part"] == "curated"].explode("labels").groupby("labels").size()
    fewest, most = clips_of.idxmin(), clips_of.idxmax()
    balance = f"from {pluralize(clips_of[fewest], 'curated clip')} ({fewest}) to {number(clips_of[most])} ({most})"
    if clips_of[fewest] == clips_of[most]:
        balance = f"{pluralize(clips_of[most], 'curated clip')} each"
    noisy = f"; noisy clips: {dataset.noisy}" if (dataset.clips["part"] == "noisy").any() else ""
    lines.append(f"{pluralize(len(dataset.classes), 'class')}, {balance}{noisy}")
    return lines
