"""From crops to a training batch: views, resize, zoom, lighting, bands, mixup, on whole batches on the device.

Probabilities and ranges are the published recipe's, which used fastai 1's transforms. What is random is drawn from
the default generator of the device that the crops are on.
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor

VIEWS = 4  # as is, time-reversed, mel-flipped, both: bit 0 reverses time, bit 1 flips mels
PROBABILITY = 0.75  # of each of zoom, brightness, contrast, bands
ZOOM = (1.0, 1.5)
BRIGHTNESS = (0.4, 0.6)
CONTRAST = (0.8, 1.25)
MAX_BANDS = 4
BAND_PIXELS = (5, 20)  # of a picture of 256
LARGEST_SHARE = 0.5  # of a crop in its mixture
MEAN, DEVIATION = 0.2932, 0.2556  # of the published training set's pixels


def resample(
    crops: Tensor, views: Tensor, *, size: int, zoom: Tensor | None = None, focus: Tensor | None = None
) -> Tensor:
    """Flip, resize and zoom crops in one resampling.

    Resizing takes the nearest pixel, as Pillow does; zooming is bilinear between pixels of the resized picture.

    Args:
        crops: uint8, shape (batch, frames, mels).
        views: The view of each, 0 to 3, shape (batch,).
        size: Height and width of the pictures.
        zoom: How much each is magnified, at least 1, float32, shape (batch,); where not given, not at all.
        focus: The point that stays in place, as shares of the height and the width, float32, shape (batch, 2).

    Returns:
        Pictures with values in [0, 1], float32, shape (batch, size, size); the lowest mel is in row 0.
    """
    batch, frames, mels = crops.shape
    pixels = torch.arange(size, device=crops.device, dtype=torch.float32)
    rows = columns = pixels.expand(batch, size)
    if zoom is not None and focus is not None:
        step = 1 / zoom[:, None]
        rows, columns = (pixels * step + (size - 1) * (1 - step) * focus[:, axis, None] for axis in (0, 1))
    in_mels = _weights(rows, mels, reverse=views >= 2)
    in_time = _weights(columns, frames, reverse=views % 2 == 1)
    return in_mels @ (in_time @ crops.float()).transpose(1, 2) / 255


def _weights(positions: Tensor, length: int, *, reverse: Tensor) -> Tensor:
    """Return the matrices that interpolate along one axis.

    Args:
        positions: For each output pixel its position in the resized picture, shape (batch, size).
        length: Pixels of the axis before it is resized.
        reverse: Whether the axis is reversed before it is resized, shape (batch,).

    Returns:
        Shape (batch, size, length); a row has one or two entries that are not 0, and sums to 1.
    """
    size = positions.shape[1]
    sources = _nearest(length, size, positions.device)
    positions = positions.clamp(0, size - 1)
    near = positions.long()
    share = positions - near
    weights = positions.new_zeros(*positions.shape, length)
    for pixel, weight in ((near, 1 - share), ((near + 1).clamp(max=size - 1), share)):
        source = sources[pixel]
        source = torch.where(reverse[:, None], length - 1 - source, source)
        weights.scatter_add_(2, source[..., None], weight[..., None])
    return weights


@cache
def _nearest(length: int, size: int, device: torch.device) -> Tensor:
    """Return for each pixel of a resized axis the one of `length` pixels that Pillow takes for it, shape (size,).

    It is the one at the pixel's centre, which Pillow finds by adding step to step in double precision.
    """
    step = length / size
    return torch.from_numpy(np.cumsum([step / 2] + [step] * (size - 1)).astype(np.int64)).to(device)


def light(pictures: Tensor, *, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Change brightness and contrast in logit space.

    Args:
        pictures: Values in [0, 1], shape (batch, height, width). Overwritten.
        brightness: Its logit is added to the pixels' logits; .5 changes nothing. Shape (batch,).
        contrast: Then the logits are multiplied by it; 1 changes nothing. Shape (batch,).
    """
    pictures = pictures.logit_(eps=1e-7)
    return pictures.add_(brightness.logit()[:, None, None]).mul_(contrast[:, None, None]).sigmoid_()


def bands(centres: Tensor, *, count: Tensor, length: Tensor, size: int) -> Tensor:
    """Return which rows (or columns) of a picture bands cover.

    Args:
        centres: The middle pixel of each band, int64, shape (batch, bands).
        count: How many of the bands there are in each picture, shape (batch,).
        length: Pixels of a band, int64, shape (batch,).
        size: Height (or width) of the picture.

    Returns:
        bool, shape (batch, size).
    """
    pixels = torch.arange(size, device=centres.device)
    length = length[:, None, None]
    start = centres[..., None] - (length + 1) // 2
    covered = (pixels >= start) & (pixels < start + length)  # (batch, bands, size)
    present = torch.arange(centres.shape[1], device=centres.device) < count[:, None]
    return (covered & present[..., None]).any(dim=1)


def normalise(pictures: Tensor) -> Tensor:
    """Normalise pictures (batch, size, size) and repeat them to three channels, stored channels last."""
    pictures = ((pictures - MEAN) / DEVIATION)[:, None].expand(-1, 3, -1, -1)
    return pictures.contiguous(memory_format=torch.channels_last)


def augment(crops: Tensor, views: Tensor, *, size: int) -> Tensor:
    """Make random training pictures.

    Args:
        crops: uint8, shape (batch, frames, mels).
        views: The view of each, 0 to 3, shape (batch,).
        size: Height and width of the pictures.

    Returns:
        Normalised pictures, float32, shape (batch, 3, size, size), channels last.
    """
    batch, device = len(crops), crops.device

    def uniform(bounds: tuple[float, float]) -> Tensor:
        return torch.empty(batch, device=device).uniform_(*bounds)

    def sometimes() -> Tensor:
        return torch.rand(batch, device=device) < PROBABILITY

    zoom = uniform(ZOOM).where(sometimes(), 1.0)
    pictures = resample(crops, views, size=size, zoom=zoom, focus=torch.rand(batch, 2, device=device))

    brightness = uniform(BRIGHTNESS).where(sometimes(), 0.5)
    low, high = torch.tensor(CONTRAST).log().tolist()
    contrast = uniform((low, high)).exp().where(sometimes(), 1.0)
    pictures = light(pictures, brightness=brightness, contrast=contrast)

    count = torch.randint(1, MAX_BANDS + 1, (batch,), device=device).where(sometimes(), 0)
    shortest, longest = BAND_PIXELS
    length = torch.randint(shortest, longest + 1, (batch,), device=device) * size // 256
    rows, columns = (
        bands(torch.randint(size, (batch, MAX_BANDS), device=device), count=count, length=length, size=size)
        for _ in range(2)
    )
    return normalise(pictures.masked_fill_(rows[:, :, None] | columns[:, None, :], 0))


def mixup(pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mix every picture with another of the batch.

    Args:
        pictures: Shape (batch, channels, height, width).

    Returns:
        The mixtures; the number of each picture's partner, shape (batch,); each picture's own share in its mixture,
        uniform in [0, .5), shape (batch,).
    """
    partners = torch.randperm(len(pictures), device=pictures.device)
    share = torch.empty(len(pictures), device=pictures.device).uniform_(0, LARGEST_SHARE)
    return torch.lerp(pictures[partners], pictures, share[:, None, None, None]), partners, share
