"""Augmentation of whole batches against slow plain versions, picture by picture."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import grid_sample

from audiotagging.training.augmentation import VIEWS, augment, bands, light, mixup, normalise, resample


@pytest.fixture
def crops():
    return torch.randint(256, (8, 128, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def picture_of(crop, view):
    """Return the picture (mels, frames) that a view of a crop shows, as the original flips it."""
    picture = crop.numpy().T
    if view in (1, 3):
        picture = np.fliplr(picture)
    if view in (2, 3):
        picture = np.flipud(picture)
    return picture


@pytest.mark.parametrize("view", range(VIEWS))
def test_twice_the_size_repeats_every_pixel(crops, view):
    pictures = resample(crops, torch.full((8,), view), size=256)
    for picture, crop in zip(pictures, crops, strict=True):
        expected = np.repeat(np.repeat(picture_of(crop, view), 2, axis=0), 2, axis=1)
        assert np.array_equal(picture.numpy() * 255, expected)


@pytest.mark.parametrize("size", [32, 64, 96, 100, 128, 224, 256, 300])
@pytest.mark.parametrize("frames", [128, 200])
def test_resize_takes_the_pixels_that_pillow_takes(size, frames):
    crops = torch.randint(256, (VIEWS, frames, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    pictures = resample(crops, torch.arange(VIEWS), size=size)
    for view in range(VIEWS):
        image = Image.fromarray(np.ascontiguousarray(picture_of(crops[view], view)))
        expected = np.asarray(image.resize((size, size), Image.Resampling.NEAREST))
        assert np.array_equal(pictures[view].numpy() * 255, expected)


@pytest.mark.parametrize("size", [64, 256])
def test_zoom_equals_grid_sample_of_the_resized_picture(crops, size):
    generator = torch.Generator().manual_seed(3)
    views = torch.arange(8) % VIEWS
    zoom, focus = 1 + torch.rand(8, generator=generator) / 2, torch.rand(8, 2, generator=generator)
    zoom[0], focus[1] = 1.5, torch.tensor([1.0, 0.0])  # the largest, and a corner
    resized = resample(crops, views, size=size)
    line = torch.linspace(-1, 1, size)
    for number in range(8):
        rows, columns = (line / zoom[number] + (1 - 1 / zoom[number]) * (2 * f - 1) for f in focus[number])
        grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], dim=-1)
        expected = grid_sample(resized[None, None, number], grid[None], padding_mode="reflection", align_corners=True)
        actual = resample(crops, views, size=size, zoom=zoom, focus=focus)[number]
        torch.testing.assert_close(actual, expected[0, 0], rtol=0, atol=1e-4)


def test_light_works_on_logits():
    pictures = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(4))
    pictures[0, 0, :2] = torch.tensor([0.0, 1.0])
    brightness, contrast = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.8, 1.0, 1.25])
    clamped = pictures.double().clamp(1e-7, 1 - 1e-7)
    added = torch.log(brightness / (1 - brightness))[:, None, None]
    logits = (torch.log(clamped / (1 - clamped)) + added) * contrast[:, None, None]
    expected = 1 / (1 + torch.exp(-logits))
    actual = light(pictures.clone(), brightness=brightness, contrast=contrast)
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(actual[1], pictures[1], rtol=0, atol=1e-6)


def test_bands_cover_what_plain_slices_cover():
    generator = torch.Generator().manual_seed(5)
    size = 48
    centres = torch.randint(size, (50, 4), generator=generator)
    count = torch.randint(5, (50,), generator=generator)
    length = torch.randint(5, 21, (50,), generator=generator)
    actual = bands(centres, count=count, length=length, size=size)
    for number in range(50):
        expected = np.zeros(size, bool)
        for centre in centres[number, : count[number]].tolist():
            half = length[number].item() / 2
            start, stop = (int(np.clip(end, 0, size)) for end in (centre - half, centre + half))
            expected[start:stop] = True
        assert np.array_equal(actual[number].numpy(), expected)


def test_normalise_repeats_to_three_channels():
    pictures = torch.rand(2, 4, 4)
    expected = ((pictures - 0.2932) / 0.2556)[:, None].repeat(1, 3, 1, 1)
    torch.testing.assert_close(normalise(pictures), expected)


def test_mixup_mixes_each_picture_by_its_own_share():
    torch.manual_seed(6)
    pictures = torch.rand(16, 3, 4, 4)
    mixed, partners, share = mixup(pictures)
    assert sorted(partners.tolist()) == list(range(16))
    assert ((share >= 0) & (share < 0.5)).all() and share.unique().numel() == 16
    for number in range(16):
        a = share[number]
        torch.testing.assert_close(mixed[number], a * pictures[number] + (1 - a) * pictures[partners[number]])


def test_augmentations_happen_as_often_as_the_recipe_says():
    torch.manual_seed(7)
    count = 4000
    # Time as brightness: zoom shows as a smaller range of values, light as another value of the middle level.
    ramp = torch.arange(128, dtype=torch.uint8)[:, None].expand(128, 128) + 64
    pictures = augment(ramp.expand(count, 128, 128), torch.zeros(count, dtype=torch.long), size=64)
    pixels = pictures[:, 0] * 0.2556 + 0.2932
    banded = (pixels < 1e-3).flatten(1).any(dim=1)
    assert banded.float().mean().item() == pytest.approx(0.75, abs=0.03)
    untouched = ~banded & ((pixels - resample(ramp[None], torch.zeros(1), size=64)).abs() < 1e-3).flatten(1).all(dim=1)
    assert untouched.float().mean().item() == pytest.approx(0.25**4, abs=0.003)


def test_bands_shrink_with_the_picture():
    torch.manual_seed(8)
    crops = torch.full((500, 128, 128), 200, dtype=torch.uint8)
    shares = []
    for size in (64, 256):
        dark = augment(crops, torch.zeros(500, dtype=torch.long), size=size)[:, 0] * 0.2556 + 0.2932 < 1e-3
        shares.append(dark.float().mean().item())
    assert shares[0] == pytest.approx(shares[1], abs=0.05)
