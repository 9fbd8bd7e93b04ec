"""Turns crops into training batches: views, resizing, zoom, lighting, bands and mixup.

Every function works on a whole batch on the device. Probabilities and ranges are those of the published recipe, which
used the transforms of fastai 1. Random numbers come from the default generator of the crops' device.
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor

VIEWS = 4  # unchanged, time-reversed, mel-flipped, both: bit 0 of a view reverses time, bit 1 flips the mels
PROBABILITY = 0.75  # of each of zoom, brightness, contrast and bands
ZOOM = (1.0, 1.5)
BRIGHTNESS = (0.4, 0.6)
CONTRAST = (0.8, 1.25)
MAX_BANDS = 4
BAND_PIXELS = (5, 20)  # in a picture of 256 pixels
LARGEST_SHARE = 0.5  # of a crop in its mixture
MEAN, DEVIATION = 0.2932, 0.2556  # of the pixels of the published training set


def resample(
    crops: Tensor, views: Tensor, *, size: int, zoom: Tensor | None = None, focus: Tensor | None = None
) -> Tensor:
    """Flip, resize and zoom crops in a single resampling step.

    Resizing takes the nearest pixel, as Pillow does. Zooming interpolates bilinearly between the pixels of the resized
    picture.

    Args:
        crops: uint8, shape (batch, frames, mels).
        views: View of each crop, 0 to 3, shape (batch,).
        size: Height and width of the pictures.
        zoom: Magnification of each picture, at least 1, float32, shape (batch,). By default nothing is magnified.
        focus: The point of each picture that stays in place, as shares of its height and width, float32, shape
            (batch, 2). It is needed together with `zoom`.

    Returns:
        Pictures with values in [0, 1], float32, shape (batch, size, size). Row 0 holds the lowest mel, unless the view
        flips the mels.

    Examples:
        One crop of two frames and two mels, in all four views:

        >>> crops = torch.tensor([[[0, 51], [102, 255]]], dtype=torch.uint8).repeat(4, 1, 1)
        >>> resample(crops, torch.arange(4), size=2)
        tensor([[[0.0000, 0.4000],
                 [0.2000, 1.0000]],
        <BLANKLINE>
                [[0.4000, 0.0000],
                 [1.0000, 0.2000]],
        <BLANKLINE>
                [[0.2000, 1.0000],
                 [0.0000, 0.4000]],
        <BLANKLINE>
                [[1.0000, 0.2000],
                 [0.4000, 0.0000]]])
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
        positions: Position of each output pixel in the resized picture, shape (batch, size).
        length: Number of pixels along the axis before resizing.
        reverse: Whether to reverse the axis before resizing, shape (batch,).

    Returns:
        Shape (batch, size, length). Each row has one or two nonzero entries and sums to 1.
    """
    size = positions.shape[1]
    sources = nearest_pixels(length, size, positions.device)
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
def nearest_pixels(length: int, size: int, device: torch.device) -> Tensor:
    """Return which of `length` pixels Pillow takes for each pixel of a resized axis, shape (size,).

    Pillow takes the pixel at the centre of the new pixel. It finds these centres by adding up steps in double
    precision, and so does this function, to get the same rounding errors.
    """
    step = length / size
    return torch.from_numpy(np.cumsum([step / 2] + [step] * (size - 1)).astype(np.int64)).to(device)


def light(pictures: Tensor, *, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Change brightness and contrast in logit space.

    Args:
        pictures: Values in [0, 1], shape (batch, height, width). They are overwritten.
        brightness: Its logit is added to the logits of the pixels, shape (batch,). 0.5 changes nothing.
        contrast: The logits are then multiplied by it, shape (batch,). 1 changes nothing.
    """
    pictures = pictures.logit_(eps=1e-7)
    return pictures.add_(brightness.logit()[:, None, None]).mul_(contrast[:, None, None]).sigmoid_()


def bands(centres: Tensor, *, count: Tensor, length: Tensor, size: int) -> Tensor:
    """Return which rows (or columns) of each picture are covered by bands.

    Args:
        centres: Centre pixel of each band, int64, shape (batch, bands).
        count: How many of its bands each picture uses, shape (batch,).
        length: Number of pixels of a band, int64, shape (batch,).
        size: Height (or width) of the pictures.

    Returns:
        True for covered rows (or columns), bool, shape (batch, size).
    """
    pixels = torch.arange(size, device=centres.device)
    length = length[:, None, None]
    start = centres[..., None] - (length + 1) // 2
    covered = (pixels >= start) & (pixels < start + length)  # (batch, bands, size)
    present = torch.arange(centres.shape[1], device=centres.device) < count[:, None]
    return (covered & present[..., None]).any(dim=1)


def normalise(pictures: Tensor) -> Tensor:
    """Normalise pictures (batch, size, size) and repeat them in three channels, in channels-last memory format."""
    pictures = ((pictures - MEAN) / DEVIATION)[:, None].expand(-1, 3, -1, -1)
    return pictures.contiguous(memory_format=torch.channels_last)


def augment(crops: Tensor, views: Tensor, *, size: int) -> Tensor:
    """Make random training pictures.

    Args:
        crops: uint8, shape (batch, frames, mels).
        views: View of each crop, 0 to 3, shape (batch,).
        size: Height and width of the pictures.

    Returns:
        Normalised pictures, float32, shape (batch, 3, size, size), in channels-last memory format.

    Examples:
        >>> crops = torch.zeros(2, 128, 128, dtype=torch.uint8)
        >>> augment(crops, torch.tensor([0, 3]), size=256).shape
        torch.Size([2, 3, 256, 256])
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


def mixup(pictures: Tensor, *, probability: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Mix pictures with other pictures of the batch (mixup, Zhang et al. 2018, arXiv:1710.09412).

    Args:
        pictures: Shape (batch, channels, height, width).
        probability: That a mixture has two pictures in it. Otherwise it is the partner alone.

    Returns:
        Three tensors: the mixtures, with the shape of `pictures`; the index of each picture's partner, shape (batch,);
        and the share of each picture in its own mixture, uniform in [0, 0.5) or 0, shape (batch,).

    Examples:
        >>> pictures = torch.rand(8, 3, 16, 16)
        >>> mixtures, partners, share = mixup(pictures)
        >>> expected = share[0] * pictures[0] + (1 - share[0]) * pictures[partners[0]]
        >>> torch.allclose(mixtures[0], expected)
        True
    """
    partners = torch.randperm(len(pictures), device=pictures.device)
    share = torch.empty(len(pictures), device=pictures.device).uniform_(0, LARGEST_SHARE)
    if probability < 1:  # the published recipe draws no number for this
        share = share.where(torch.rand(len(pictures), device=pictures.device) < probability, 0)
    return torch.lerp(pictures[partners], pictures, share[:, None, None, None]), partners, share
