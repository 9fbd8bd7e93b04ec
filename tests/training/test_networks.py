"""The networks against values made by running the original code; tests/reference/xresnet.json holds them."""

import pytest
import torch
from helpers.published_networks import REFERENCE, fixed_pictures, published_state

from audiotagging import members
from audiotagging.members import ENSEMBLES
from audiotagging.training.networks import NETWORKS, SimpleSelfAttention


def test_every_network_can_be_named_on_the_command_line():
    assert set(members.NETWORKS) == set(NETWORKS)


@pytest.mark.parametrize("name", REFERENCE)
def test_network_is_the_original(name):
    network = NETWORKS[name](320)
    reference = REFERENCE[name]
    assert sum(parameter.numel() for parameter in network.parameters()) == reference["parameters"]
    own = network.state_dict()
    assert [list(tensor.shape) for tensor in own.values()] == [shape for _, shape in reference["state"]]
    for key, tensor in zip(own, published_state(name).values(), strict=True):
        own[key] = tensor
    network.load_state_dict(own)
    with torch.no_grad():
        logits = network.double().eval()(fixed_pictures())
    expected = torch.tensor(reference["logits"], dtype=torch.float64)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_start_as_their_shortcuts(name):
    network = NETWORKS[name](8)
    for block in network.body:
        if hasattr(block, "shortcut"):
            block.shortcut.eval()
            features = torch.rand(2, block.convolutions[0][0].in_channels, 8, 8)
            torch.testing.assert_close(block(features), block.shortcut(features).relu(), rtol=0, atol=0)


def test_attention_equals_its_definition_position_by_position():
    torch.manual_seed(1)
    attention = SimpleSelfAttention(4).double().eval()
    attention.gamma.data.fill_(0.3)
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    weight = attention.convolution.weight[:, :, 0]
    assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1)
    for picture, attended in zip(x.flatten(2), attention(x).flatten(2), strict=True):
        scores = picture.T @ (weight @ picture)  # (positions, positions)
        torch.testing.assert_close(attended, picture + 0.3 * picture @ scores)


def test_only_the_body_of_the_large_headed_networks_trains_slower():
    shares = {name: [group["share"] for group in NETWORKS[name](8).parameter_groups()] for name in REFERENCE}
    assert shares == {
        "xresnet18ssa": [1, 1],
        "xresnet34ssa": [1, 1],
        "xresnet34": [0.1, 1],
        "xresnet50": [0.1, 1],
    }


def test_every_member_names_a_network():
    assert {member.network for ensemble in ENSEMBLES.values() for member in ensemble} <= set(NETWORKS)
