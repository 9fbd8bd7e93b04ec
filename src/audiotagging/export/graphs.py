"""What an exported file computes, as torch modules of one clip of any length.

Each repeats a part of the library that works on many clips at once or in numpy: `Spectrogram` repeats
`audiotagging.sounds.spectrogram.clip_spectrogram`, `ClipScores` repeats `audiotagging.training.prediction.score`, and
`EnsembleScores` repeats `audiotagging.artifacts.averaging.average`. Lengths are symbols in an exported graph. So no
branch depends on them, and the number of windows and where they start are formulas.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from audiotagging.artifacts.averaging import Averaging
from audiotagging.artifacts.mels import MELS
from audiotagging.sounds.audio import TRIM_DECIBELS, TRIM_FLOOR, TRIM_FRAME, TRIM_HOP
from audiotagging.sounds.spectrogram import FFT, HOP, POWER_FLOOR, RANGE_DECIBELS, SHORTEST, WINDOW, mel_filters
from audiotagging.training.augmentation import VIEWS, nearest_pixels, normalise
from audiotagging.training.linear_model import LinearModel, statistics_of
from audiotagging.training.prediction import Model

ROWS, COLUMNS = 40, 64  # FFT = ROWS * COLUMNS
BLOCKS = TRIM_FRAME // TRIM_HOP  # of a frame in which silence is looked for


class Spectrogram(nn.Module):
    """Maps the samples of a clip to its spectrogram, without the silence at both ends.

    The Fourier transform is two matrix products (Cooley and Tukey, "An algorithm for the machine calculation of complex
    Fourier series", 1965). ONNX's own operator is slower where the length is not a power of two. They are in double
    precision: rounding in single precision would bury what is faint beside a loud tone or a constant offset.
    """

    def __init__(self) -> None:
        super().__init__()
        rows, columns = np.arange(ROWS), np.arange(COLUMNS)
        constants = {
            "window": WINDOW,
            "filters": mel_filters().T.astype(np.float32),
            "over_rows": _turns(np.outer(rows, rows) / ROWS),
            "between": _turns(np.outer(rows, columns) / FFT),
            "over_columns": _turns(np.outer(columns, columns) / COLUMNS),
        }
        for name, values in constants.items():
            self.register_buffer(name, torch.tensor(values))

    def forward(self, samples: Tensor) -> Tensor:
        """Map samples (n,), mono, at 44 100 Hz, float32, to uint8, shape (frames, 128)."""
        samples = _pad(_trim(samples))
        samples = pad(samples[None], (FFT // 2, FFT // 2), mode="reflect")[0]
        starts = HOP * torch.arange((samples.shape[0] - FFT) // HOP + 1)
        frames = samples[starts[:, None] + torch.arange(FFT)] * self.get_buffer("window")  # (T, FFT)
        mel = self._power(frames) @ self.get_buffer("filters")
        decibels = 10 * mel.clamp(min=POWER_FLOOR).log10()
        decibels = decibels.maximum(decibels.max() - RANGE_DECIBELS)
        low, span = decibels.min(), decibels.max() - decibels.min()
        return torch.where(span > 1e-6, 255 * (decibels - low) / span, 0).to(torch.uint8)

    def _power(self, frames: Tensor) -> Tensor:
        """Return the power spectrum of frames (T, FFT), shape (T, FFT / 2 + 1)."""
        # Sample n = COLUMNS a + b and bin k = c + ROWS d: the sum over a, the factors between, and the sum over b.
        real, imaginary = (part @ frames.view(-1, ROWS, COLUMNS) for part in self.get_buffer("over_rows"))  # (T, c, b)
        cosine, sine = self.get_buffer("between")
        real, imaginary = real * cosine - imaginary * sine, real * sine + imaginary * cosine
        cosine, sine = self.get_buffer("over_columns")
        real, imaginary = real @ cosine - imaginary @ sine, real @ sine + imaginary @ cosine  # (T, c, d)
        power = real.square() + imaginary.square()
        return power.transpose(1, 2).flatten(1)[:, : FFT // 2 + 1].float()


def _turns(shares: np.ndarray) -> np.ndarray:
    """Return the real and the imaginary parts of exp(-2 pi i x), shape (2, *x.shape)."""
    values = np.exp(-2j * np.pi * shares)
    return np.stack([values.real, values.imag])


def _trim(samples: Tensor) -> Tensor:
    """Trim silence as `sounds.audio.trim` does, except where rounding decides whether a frame is silent."""
    length = samples.shape[0]
    whole = length // TRIM_HOP
    blocks = pad(samples, (0, (whole + 1) * TRIM_HOP - length)).view(-1, TRIM_HOP)
    energies = pad(blocks.square().sum(1), (BLOCKS // 2, BLOCKS // 2))
    frames = torch.stack([energies[first : first + whole + 1] for first in range(BLOCKS)]).sum(0)
    levels = (frames / TRIM_FRAME).clamp(min=TRIM_FLOOR)
    heard = torch.nonzero(levels > levels.max() * 10 ** (-TRIM_DECIBELS / 10))[:, 0]
    start: Any = (heard.min() * TRIM_HOP).item()
    end: Any = ((heard.max() + 1) * TRIM_HOP).clamp(max=length).item()
    for is_so in (start >= 0, start <= end, end <= length):  # what torch cannot know of numbers that data determine
        torch._check(is_so)
    return samples.narrow(0, start, end - start)


def _pad(samples: Tensor) -> Tensor:
    """Pad the samples with zeros on both sides to at least two seconds."""
    missing = torch.sym_max(0, SHORTEST - samples.shape[0])
    padded = pad(samples, (missing // 2, missing - missing // 2))
    torch._check(padded.shape[0] >= SHORTEST)
    return padded


class ClipScores(nn.Module):
    """Maps the spectrogram of a clip to the scores of a model: windows, views, network, maximum and mean."""

    def __init__(self, model: Model) -> None:
        """Take over a trained model, whose network must be on the CPU."""
        super().__init__()
        self.network = model.network
        self.member = model.member
        self.classes = len(model.classes)
        device = torch.device("cpu")
        self.frames = nearest_pixels(model.member.frames, model.member.size, device)
        self.mels = nearest_pixels(MELS, model.member.size, device)

    def forward(self, spectrogram: Tensor) -> tuple[Tensor, Tensor]:
        """Map uint8 (frames, 128) to probabilities (classes,), and to the same as those of one member (1, classes)."""
        pictures = torch.cat([self._pictures(spectrogram, view) for view in range(VIEWS)])
        logits = self.network(normalise(pictures.float() / 255)).view(VIEWS, -1, VIEWS, self.classes)
        own = torch.stack([logits[view, :, view] for view in range(VIEWS)])  # (views, windows, classes)
        scores = own.amax(1).sigmoid().mean(0)
        return scores, scores[None]

    def _pictures(self, spectrogram: Tensor, view: int) -> Tensor:
        """Return the windows of a clip in one view as pictures, uint8, shape (windows, size, size)."""
        member, length = self.member, spectrogram.shape[0]
        step = max(1, round(member.frames * (1 - member.overlap)))
        last = torch.sym_max(length - member.frames, 0)
        steps = (last + step - 1) // step
        starts = (step * torch.arange(steps + 1 if member.tail else torch.sym_max(steps, 1))).clamp(max=last)
        frames, mels = self.frames, self.mels
        if view % 2:  # reversed: the windows start at the same distances from the end
            starts, frames = last - starts, member.frames - 1 - frames
        if view >= 2:
            mels = MELS - 1 - mels
        rows = (starts[:, None] + frames).clamp(max=length - 1)
        return spectrogram[rows].index_select(2, mels).transpose(1, 2)


class LinearScores(nn.Module):
    """Maps the spectrogram of a clip to the scores of a linear model."""

    def __init__(self, model: LinearModel) -> None:
        """Take over a fitted model, which must be on the CPU."""
        super().__init__()
        self.model = model

    def forward(self, spectrogram: Tensor) -> tuple[Tensor, Tensor]:
        """Map uint8 (frames, 128) to probabilities (classes,), and to the same as those of one member (1, classes)."""
        scores = self.model(statistics_of(spectrogram)[None]).sigmoid()
        return scores[0], scores


class EnsembleScores(nn.Module):
    """Maps the scores of the models to those of the members and of the ensemble."""

    def __init__(self, averaging: Averaging, models: Sequence[str]) -> None:
        """Prepare the averages.

        Args:
            averaging: How the members are averaged.
            models: Id of the member of each model.
        """
        super().__init__()
        self.mean = averaging.mean
        folds = torch.tensor([[float(name == member) for name in models] for member in averaging.weights])
        self.register_buffer("folds", folds / folds.sum(1, keepdim=True))
        self.register_buffer("weights", torch.tensor(list(averaging.weights.values())))

    def forward(self, *scores: Tensor) -> tuple[Tensor, Tensor]:
        """Map scores (classes,) of each model to those of the ensemble (classes,) and of members (members, classes)."""
        members = self.get_buffer("folds") @ torch.stack(scores)
        return self._average(members), members

    def _average(self, members: Tensor) -> Tensor:
        weights = self.get_buffer("weights")
        if self.mean == "geometric":
            return (weights @ members.clamp(min=torch.finfo(torch.float32).tiny).log()).exp()
        if self.mean == "rank":
            one, other = members[:, :, None], members[:, None, :]
            # Of equal scores, each counts half, and itself another half: that is their mean rank.
            ranks = (one > other).float().sum(2) + ((one == other).float().sum(2) + 1) / 2
            return weights @ (ranks / members.shape[1])
        return weights @ members
