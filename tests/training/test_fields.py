"""Whatever a member accepts can be trained and scored; everything else is refused before anything starts."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.slow import slow_but
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotagging.artifacts.spectrogram_shards import Spectrograms
from audiotagging.base.errors import UserError
from audiotagging.members import CHOICES, LINEAR, RANGES, Member
from audiotagging.training.loop import TrainingRun
from audiotagging.training.networks import NETWORKS

INTEGERS = {name for name in RANGES if Member.__dataclass_fields__[name].type is int}
# The cost of a step grows with these, and nothing in it changes further above.
AFFORDABLE = {"size": 70, "batch_size": 8}


def values(name):
    """Return a strategy for the values of a field that it accepts, of which the limits are most likely to fail."""
    low, high = RANGES[name]
    high = min(high, AFFORDABLE.get(name, high))
    within = st.integers(low, high) if name in INTEGERS else st.floats(low, high)
    return st.sampled_from([low, high]) | within


FIELDS = {name: st.sampled_from(choices) for name, choices in CHOICES.items()}
FIELDS["network"] = st.sampled_from([name for name in CHOICES["network"] if name != LINEAR])  # which is fitted at once
FIELDS |= {name: values(name) for name in RANGES} | {"tail": st.booleans()}


@pytest.fixture(scope="module")
def clips():
    """Four clips of two classes, two of them in fold 0, of 1 to 200 frames."""
    lengths = np.array([1, 50, 130, 200])
    table = pd.DataFrame(
        {
            "clip": ["a.wav", "b.wav", "c.wav", "d.wav"],
            "part": "curated",
            "labels": [["Bark"], ["Meow"], ["Bark", "Meow"], ["Meow"]],
            "fold": [0, 1, 0, 1],
            "usage": "",
        }
    )
    frames = np.random.default_rng(1).integers(0, 256, (lengths.sum(), 128), np.uint8)
    return Spectrograms(
        clips=table, frames=frames, offsets=np.concatenate([[0], lengths.cumsum()]), classes=["Bark", "Meow"]
    )


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(fields=st.fixed_dictionaries({}, optional=FIELDS))
def test_whatever_a_member_accepts_trains_a_batch_and_scores_clips(clips, fields):
    small = {"network": "xresnet18ssa", "loss": "bce", "epochs": 1, "size": 32, "batch_size": 4, "epoch_size": 2}
    member = Member(**{"id": "any"} | small | fields)
    torch.manual_seed(1)
    run = TrainingRun(member, clips, fold=0, device=torch.device("cpu"), precision="float32")
    run.train_step()
    run.check()
    assert 0 <= run.validate() <= 1


@pytest.mark.parametrize("name", RANGES)
@given(data=st.data())
def test_everything_else_is_refused(name, data):
    low, high = RANGES[name]
    numbers = st.integers() if name in INTEGERS else st.floats()
    value = data.draw(numbers.filter(lambda number: not low <= number <= high))
    required = {"id": "any", "network": "xresnet50", "loss": "bce", "epochs": 1}
    with pytest.raises(UserError, match=f"expected {name} to be a number from .*, found"):
        Member(**required | {name: value})


@pytest.mark.parametrize("name", slow_but(NETWORKS, "xresnet18ssa"))
def test_the_networks_take_pictures_of_every_size(name):
    network = NETWORKS[name](8)
    # Each group of blocks halves the size and rounds up, so that all combinations of odd and even occur below 80.
    for size in [*range(RANGES["size"][0], 80), 223, 257]:
        with torch.no_grad():
            features = network.body(torch.rand(2, 3, size, size))
        assert features.shape[2:] == (-(-size // 32), -(-size // 32)), size
        assert network.head(features).shape == (2, 8)


@pytest.mark.parametrize("name", ["xresnet34", "xresnet50"])
def test_pictures_of_48_pixels_give_what_they_gave_when_other_odd_sizes_failed(name):
    network = NETWORKS[name](8)
    (block,) = [block for block in network.body[-3:] if len(block.shortcut) == 2]  # the first of the last group
    block.eval()
    normed = block.shortcut[1]
    features = torch.rand(2, block.convolutions[0][0].in_channels, 3, 3)
    shortcut = normed(features[:, :, :2, :2].mean((2, 3), keepdim=True)).expand(-1, -1, 2, 2)
    torch.testing.assert_close(block(features), shortcut.relu(), rtol=0, atol=1e-5)  # the branch starts as zero
