"""What is validated of a fold: the labels that the clips to train on have too."""

import numpy as np
import pandas as pd
import pytest
import torch

from audiotagging.artifacts.spectrogram_shards import Spectrograms
from audiotagging.training.batches import TrainingData

CLASSES = ["bark", "hiss", "meow"]


@pytest.mark.parametrize(
    ("fold", "expected"),
    [
        (0, [[True, False, False], [False, False, False]]),  # no other clip hisses
        (1, [[True, False, False]]),
        (2, [[False, False, True]]),  # a noisy clip meows
        (-1, []),
    ],
)
def test_labels_that_no_clip_to_train_on_has_do_not_count(fold, expected):
    clips = pd.DataFrame(
        {
            "clip": list("abcde"),
            "part": ["curated"] * 4 + ["noisy"],
            "labels": [["bark", "hiss"], ["hiss"], ["bark"], ["meow"], ["meow"]],
            "fold": [0, 0, 1, 2, -1],
        }
    )
    frames, offsets = np.zeros((5 * 130, 128), np.uint8), np.arange(6) * 130
    data = TrainingData(Spectrograms(clips, frames, offsets, CLASSES), fold=fold, device=torch.device("cpu"))
    assert data.truth.tolist() == expected
