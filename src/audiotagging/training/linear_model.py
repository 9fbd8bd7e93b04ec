"""A linear model of statistics of whole spectrograms: what networks have to beat to be worth their time.

The statistics of every mel band are its mean, its standard deviation, five percentiles, and the mean step from one
frame to the next. A logistic regression per class is fitted to them, which takes seconds for thousands of clips.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from audiotagging.artifacts.mels import MELS
from audiotagging.artifacts.spectrogram_shards import Spectrograms, read_spectrograms

BANDS = 32  # each of four mels
PERCENTILES = (5, 25, 50, 75, 95)
INVERSE_PENALTY = 0.2  # C of scikit-learn's LogisticRegression; .01 to 1 score within .02 of each other on ESC-10
STEPS = 200  # of the optimiser; it stops earlier where the loss no longer falls
CHUNK = 512  # clips whose spectrograms are in memory at once


@dataclass(frozen=True)
class LinearModel:
    """A fitted model.

    Attributes:
        mean: Mean of every statistic, shape (statistics,).
        deviation: Standard deviation of every statistic, shape (statistics,).
        weights: Shape (statistics + 1, classes). The last row has the intercepts.
    """

    mean: np.ndarray
    deviation: np.ndarray
    weights: np.ndarray

    def score(self, statistics: np.ndarray) -> np.ndarray:
        """Return the probabilities of clips with these statistics, float32, shape (clips, classes)."""
        logits = _with_ones((statistics - self.mean) / self.deviation) @ self.weights
        return (1 / (1 + np.exp(-logits))).astype(np.float32)


def spectrogram_statistics(data: Spectrograms) -> np.ndarray:
    """Return the statistics of every clip, shape (clips, `BANDS` x 8)."""
    rows = []
    for start, end in zip(data.offsets, data.offsets[1:], strict=False):
        bands = data.frames[start:end].reshape(-1, BANDS, MELS // BANDS).mean(axis=2, dtype=np.float32)
        steps = np.abs(np.diff(bands, axis=0)).mean(axis=0) if len(bands) > 1 else np.zeros(BANDS)
        rows.append(np.concatenate([bands.mean(axis=0), bands.std(axis=0), steps, *_percentiles(bands)]))
    return np.array(rows, np.float64).reshape(-1, BANDS * (3 + len(PERCENTILES)))


def _percentiles(bands: np.ndarray) -> np.ndarray:
    """Return the percentiles of the frames of each band, shape (percentiles, bands), without interpolation."""
    places = np.round(np.array(PERCENTILES) / 100 * (len(bands) - 1)).astype(int)
    return np.partition(bands, places, axis=0)[places]


def fit_linear_model(statistics: np.ndarray, truth: np.ndarray) -> LinearModel:
    """Fit a logistic regression per class, with an L2 penalty on all weights but the intercepts.

    Args:
        statistics: Shape (clips, statistics).
        truth: True where the clip has the label, bool, shape (clips, classes).
    """
    mean, deviation = statistics.mean(axis=0), statistics.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1)
    inputs = torch.from_numpy(_with_ones((statistics - mean) / deviation))
    targets = torch.from_numpy(truth.astype(np.float64))
    weights = torch.zeros(inputs.shape[1], targets.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        misfit = torch.nn.functional.binary_cross_entropy_with_logits(inputs @ weights, targets, reduction="sum")
        total = (misfit + weights[:-1].square().sum() / (2 * INVERSE_PENALTY)) / len(inputs)
        total.backward()
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return LinearModel(mean, deviation, weights.detach().numpy())


def read_statistics(spectrograms: Path, clips: pd.DataFrame) -> np.ndarray:
    """Return the statistics of some clips of a folder of shards, shape (clips, statistics).

    Args:
        spectrograms: The folder of shards.
        clips: Rows of its table of clips, in its order.
    """
    found = [np.empty((0, BANDS * (3 + len(PERCENTILES))))]
    for part, names in clips.groupby("part", sort=False)["clip"]:
        for start in range(0, len(names), CHUNK):
            chunk = list(names[start : start + CHUNK])
            found.append(spectrogram_statistics(read_spectrograms(spectrograms, parts=[str(part)], clips=chunk)))
    return np.concatenate(found)


def _with_ones(inputs: np.ndarray) -> np.ndarray:
    return np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)
