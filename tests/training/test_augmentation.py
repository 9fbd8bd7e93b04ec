"""Augmentation of whole batches against slow plain versions, picture by picture."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare, kstest, uniform
from torch.nn.functional import grid_sample

from audiotagging.training import augmentation
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


@pytest.mark.parametrize("probability", [0.0, 0.4])
def test_mixup_leaves_some_pictures_alone(probability):
    torch.manual_seed(8)
    pictures = torch.rand(2000, 1, 2, 2)
    mixed, partners, share = mixup(pictures, probability=probability)
    alone = share == 0
    assert torch.equal(mixed[alone], pictures[partners[alone]])
    assert alone.float().mean() == pytest.approx(1 - probability, abs=0.05)  # 4.5 standard deviations


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


PICTURES = 20_000


@pytest.fixture(params=[64, 256])
def drawn(request, monkeypatch):
    """What `augment` draws for many pictures of a size: the arguments of the functions that change them."""
    found = {"size": request.param, "bands": []}

    def record_bands(centres, **options):
        found["bands"].append(options | {"centres": centres})
        return torch.zeros(PICTURES, 1, dtype=torch.bool)

    def record(*_, **options):
        found.update(options)
        return torch.zeros(PICTURES, 1, 1)

    for name, recorder in (("resample", record), ("light", record), ("bands", record_bands)):
        monkeypatch.setattr(augmentation, name, recorder)
    torch.manual_seed(9)
    crops = torch.zeros(1, 1, 1, dtype=torch.uint8).expand(PICTURES, 1, 1)
    augment(crops, torch.zeros(PICTURES, dtype=torch.long), size=request.param)
    return found


def changed(drawn):
    """Say of each picture what is changed in it."""
    rows, _ = drawn["bands"]
    return [drawn["zoom"] != 1, drawn["brightness"] != 0.5, drawn["contrast"] != 1, rows["count"] != 0]


def assert_uniform(values, low, high):
    assert low <= values.min() and values.max() <= high
    assert kstest(values.double(), uniform(low, high - low).cdf).pvalue > 0.001


def assert_uniform_integers(values, expected):
    """Compare numbers with those that are expected, each as often as it is among them."""
    counts, often = torch.bincount(values.flatten()), torch.bincount(torch.tensor(expected))
    assert len(counts) == len(often) and not counts[often == 0].any()
    shares = often[often > 0] / often.sum()
    assert chisquare(counts[often > 0], shares.double() / shares.double().sum() * counts.sum()).pvalue > 0.001


def test_each_change_happens_to_three_of_four_pictures_whatever_else_happens(drawn):
    changes = torch.stack(changed(drawn)).double()
    assert changes.mean(dim=1).tolist() == pytest.approx([0.75] * 4, abs=0.01)
    assert (torch.corrcoef(changes) - torch.eye(4)).abs().max() < 0.03


def test_zoom_light_and_contrast_are_drawn_from_their_ranges(drawn):
    zoomed, brighter, contrasted, _ = changed(drawn)
    assert_uniform(drawn["zoom"][zoomed], 1.0, 1.5)
    assert_uniform(drawn["brightness"][brighter], 0.4, 0.6)
    assert_uniform(drawn["contrast"][contrasted].log(), math.log(0.8), math.log(1.25))


def test_the_focus_is_anywhere_in_the_picture(drawn):
    assert drawn["focus"].shape == (PICTURES, 2)
    for axis in drawn["focus"].T:
        assert_uniform(axis, 0.0, 1.0)
    assert torch.corrcoef(drawn["focus"].T)[0, 1].abs() < 0.03


def test_bands_are_one_to_four_of_one_length_anywhere_in_the_picture(drawn):
    rows, columns = drawn["bands"]
    size = drawn["size"]
    assert rows["size"] == columns["size"] == size
    assert torch.equal(rows["count"], columns["count"]) and torch.equal(rows["length"], columns["length"])
    assert_uniform_integers(rows["count"][rows["count"] > 0], [1, 2, 3, 4])
    assert_uniform_integers(rows["length"], [length * size // 256 for length in range(5, 21)])
    for axis in (rows, columns):
        assert axis["centres"].shape == (PICTURES, 4)
        assert_uniform_integers(axis["centres"], range(size))
    assert torch.corrcoef(torch.stack([rows["centres"][:, 0], columns["centres"][:, 0]]).double())[0, 1].abs() < 0.03


def test_bands_shrink_with_the_picture():
    torch.manual_seed(8)
    crops = torch.full((500, 128, 128), 200, dtype=torch.uint8)
    shares = []
    for size in (64, 256):
        dark = augment(crops, torch.zeros(500, dtype=torch.long), size=size)[:, 0] * 0.2556 + 0.2932 < 1e-3
        shares.append(dark.float().mean().item())
    assert shares[0] == pytest.approx(shares[1], abs=0.05)


def test_bands_cover_whole_rows_and_columns():
    torch.manual_seed(10)
    white = torch.full((100, 128, 128), 255, dtype=torch.uint8)
    dark = augment(white, torch.zeros(100, dtype=torch.long), size=64)[:, 0] * 0.2556 + 0.2932 < 1e-3
    rows, columns = dark.all(dim=2), dark.all(dim=1)
    assert torch.equal(dark, rows[:, :, None] | columns[:, None, :])
    assert rows.any() and columns.any() and not dark.all()


def test_everything_is_made_on_the_device_of_the_crops():
    """The device `meta` holds no values, and refuses to work with tensors of another device."""
    crops, views = torch.empty(8, 200, 128, dtype=torch.uint8, device="meta"), torch.zeros(8, device="meta")
    pictures = augment(crops, views, size=64)
    assert pictures.shape == (8, 3, 64, 64) and pictures.device == crops.device
    assert all(tensor.device == crops.device for tensor in mixup(pictures))
