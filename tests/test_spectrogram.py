from pathlib import Path

import numpy as np
import pytest

from audiotagging.audio import decode
from audiotagging.spectrogram import clip_spectrogram

REFERENCE = Path(__file__).parent / "reference"
EXPECTED = np.load(REFERENCE / "spectrograms_uint8.npz")


@pytest.mark.parametrize("name", EXPECTED.files)
def test_bytes_equal_the_original_recipe(name):
    expected = EXPECTED[name].T
    found = clip_spectrogram(decode(REFERENCE / "audio" / f"{name}.wav").samples)
    assert found.shape == expected.shape and found.dtype == np.uint8
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.001
