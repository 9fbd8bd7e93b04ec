import numpy as np
import pytest
import torch

from audiotagging.training.batches import Store

LENGTHS = [128, 129, 200, 300]


@pytest.fixture
def store():
    offsets = np.cumsum([0, *LENGTHS])
    frames = np.zeros((offsets[-1], 128), np.uint8)
    for clip, start in enumerate(offsets[:-1]):
        frames[start : start + LENGTHS[clip], 0] = clip
        frames[start : start + LENGTHS[clip], 1] = np.arange(LENGTHS[clip]) % 256
        frames[start : start + LENGTHS[clip], 2] = np.arange(LENGTHS[clip]) // 256
    return Store(frames, offsets, device=torch.device("cpu"))


def test_a_crop_is_one_piece_of_its_clip(store):
    crops = store.crops(torch.tensor([3, 0, 3]), torch.tensor([172, 0, 5]), frames=128)
    for crop, clip, start in zip(crops, (3, 0, 3), (172, 0, 5), strict=True):
        assert (crop[:, 0] == clip).all()
        assert (crop[:, 1] + 256 * crop[:, 2].int()).tolist() == list(range(start, start + 128))


def test_a_clip_shorter_than_its_crop_repeats_its_last_frame(store):
    (crop,) = store.crops(torch.tensor([0]), torch.tensor([0]), frames=150)
    assert crop[:, 1].tolist() == [*range(128), *[127] * 22]
    assert (crop[:, 0] == 0).all()


@pytest.mark.slow
def test_random_crops_draw_every_clip_and_every_start_alike(store):
    torch.manual_seed(1)
    crops, places = store.random_crops(torch.tensor([1, 2, 3]), 60_000, frames=128)
    clips = torch.tensor([1, 2, 3])[places]
    assert (crops[:, 0, 0] == clips).all() and (crops[:, -1, 0] == clips).all()
    starts = crops[:, 0, 1].int() + 256 * crops[:, 0, 2].int()
    for clip in (1, 2, 3):
        of_clip = starts[clips == clip]
        assert len(of_clip) == pytest.approx(20_000, rel=0.05)
        assert sorted(of_clip.unique().tolist()) == list(range(LENGTHS[clip] - 128))
        assert of_clip.float().mean().item() == pytest.approx((LENGTHS[clip] - 129) / 2, abs=1.5)
