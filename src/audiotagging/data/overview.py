"""Summarises a data set: its clips, hours, labels and classes. Reads the header of every audio file, not the audio."""

import os
from pathlib import Path

import numpy as np

from audiotagging.data.audio import SoundError, duration
from audiotagging.data.dataset import DataError, Dataset
from audiotagging.data.layouts.contents import PARTS
from audiotagging.data.layouts.tree import name_of
from audiotagging.progress import track


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
    lines.append(
        f"{len(dataset.classes)} classes, from {clips_of[fewest]} curated clips ({fewest}) "
        f"to {clips_of[most]} ({most}); noisy clips: {dataset.noisy}"
    )
    return lines
