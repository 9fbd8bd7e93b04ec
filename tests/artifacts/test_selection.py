import pandas as pd
import pytest

from audiotagging.artifacts.selection import unheard_classes

CLASSES = ["bark", "hiss", "meow", "rain"]
CLIPS = pd.DataFrame(
    [
        ("a", "curated", ["bark", "rain"], 0),
        ("b", "curated", ["bark"], 1),
        ("c", "curated", ["hiss", "rain"], 1),
        ("d", "curated", ["meow"], 2),
        ("e", "noisy", ["hiss"], -1),
        ("f", "noisy", ["meow"], -1),
        ("g", "test", ["meow"], -1),
    ],
    columns=["clip", "part", "labels", "fold"],
)


@pytest.mark.parametrize(
    ("fold", "noisy", "expected"),
    [
        (-1, [], []),
        (0, [], []),
        (1, [], ["hiss"]),
        (1, ["e"], []),  # a noisy clip teaches it
        (1, ["f"], ["hiss"]),
        (2, ["e"], ["meow"]),  # a test clip does not
        (2, ["f"], []),
    ],
)
def test_a_class_is_unheard_if_no_clip_that_is_trained_on_has_it(fold, noisy, expected):
    assert unheard_classes(CLIPS, CLASSES, fold=fold, noisy_clips=noisy) == expected
