import base64
import io

import numpy as np
import pytest
from PIL import Image

from audiotagging.report.clips import draw_clip, time_axis
from audiotagging.sounds.audio import RATE
from audiotagging.sounds.spectrogram import HOP, SHORTEST


def drawn(spectrogram, seconds, lengths):
    url = draw_clip(spectrogram, seconds=seconds, axis=time_axis(lengths))
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("L"))


@pytest.mark.parametrize("seconds", [0.01, 0.35, 1.0, 1.99, 2.0, 5.3, 9.99])
def test_pictures_are_as_wide_as_their_clips_are_long(seconds):
    samples = round(seconds * RATE)
    padding = max(0, SHORTEST - samples) // 2 // HOP
    spectrogram = np.full((1 + max(samples, SHORTEST) // HOP, 128), 255, np.uint8)
    if padding:  # as the spectrogram of a padded clip is black at both ends
        spectrogram[: padding - 1], spectrogram[1 - padding :] = 0, 0
    picture = drawn(spectrogram, seconds, [seconds, 9.0, 30.0])  # the axis ends at 10 s
    assert picture.shape == (128, max(1, round(36 * seconds)))
    assert (picture > 128).all()  # none of the padding


def test_a_long_clip_is_shown_from_its_start():
    spectrogram = np.zeros((1 + 30 * RATE // HOP, 128), np.uint8)
    spectrogram[: 9 * RATE // HOP] = 255
    picture = drawn(spectrogram, 30.0, [30.0])
    assert picture.shape == (128, 360)
    assert (picture[:, :320] > 128).all() and (picture[:, 330:] < 128).all()


def test_low_frequencies_are_at_the_bottom():
    spectrogram = np.zeros((128, 128), np.uint8)
    spectrogram[:, :10] = 255
    picture = drawn(spectrogram, 2.0, [2.0])
    assert picture[-1, 0] > 128 > picture[0, 0]


@pytest.mark.parametrize("lengths", [[0.2], [0.35, 0.1], [1.0], [2.04, 0.3], [5.0, 4.9], [7.7], [10.0], [0.4, 29.0]])
def test_the_axis_of_time_fits_all_clips_and_has_some_even_ticks(lengths):
    axis = time_axis(lengths)
    assert axis.seconds == min(max(lengths), 10.0)
    assert axis.ticks[0] == 0 and 2 <= len(axis.ticks) <= 6 and axis.ticks[-1] <= axis.seconds
    assert np.diff(axis.ticks) == pytest.approx(axis.ticks[1])
