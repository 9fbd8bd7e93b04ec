"""Summarises a data set: its clips, hours, labels and classes. Reads the header of every audio file, not the audio."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from audiotagging.data.audio import SoundError, duration
from audiotagging.data.dataset import DataError, Dataset
from audiotagging.data.layouts.contents import PARTS
from audiotagging.data.layouts.tree import name_of
from audiotagging.progress import track
from audiotagging.wording import counted, number

WIDEST = 40  # characters of the name of a class
CLASSES_SHOWN = 100


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
    rows = track(clips.itertuples(), label="read audio headers", total=len(clips))
    seconds = np.array([_duration(clip.path, clip.start, clip.end) for clip in rows])
    unreadable = clips[np.isnan(seconds)]
    problems = [
        f"{name_of(os.path.relpath(path, dataset.folder))} cannot be read as audio, or has no samples"
        for part, paths in unreadable.groupby("part", sort=False)["path"]
        if len(paths) > max_rejected * (clips["part"] == part).sum()
        for path in paths
    ]
    if problems:
        raise DataError(dataset.folder, problems)
    return seconds


def _duration(path: str, start: float, end: float) -> float:
    try:
        return duration(Path(path), start=start, end=end)
    except SoundError:
        return np.nan


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
        lines[CLASSES_SHOWN + 1 :] = [f"and {counted(len(lines) - CLASSES_SHOWN - 1, 'more class')}"]
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
    balance = f"from {counted(clips_of[fewest], 'curated clip')} ({fewest}) to {number(clips_of[most])} ({most})"
    if clips_of[fewest] == clips_of[most]:
        balance = f"{counted(clips_of[most], 'curated clip')} each"
    lines.append(f"{counted(len(dataset.classes), 'class')}, {balance}; noisy clips: {dataset.noisy}")
    return lines
