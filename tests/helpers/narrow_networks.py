"""The four networks with an eighth of their channels and one block per group, for tests of what is around them.

They have the same parts with the same names: attention, bottlenecks, both heads, and two learning rates.
"""

from functools import partial

from torch import nn

from audiotagging.training.networks import NETWORKS, Block, LargeHead, Network, conv_norm

WIDTHS = (8, 16, 32, 64)


def narrow(outputs, *, attention, bottleneck=False):
    """Return a narrow network with this many outputs."""
    layers = nn.Sequential()
    inputs = 3
    for stride in (2, 1, 1):
        layers.append(conv_norm(inputs, WIDTHS[0], stride=stride).append(nn.ReLU(inplace=True)))
        inputs = WIDTHS[0]
    layers.append(nn.MaxPool2d(3, 2, padding=1))
    for stage, width in enumerate(WIDTHS):
        options = {"stride": 1 + (stage > 0), "attention": attention and stage == 0, "repeats": not attention}
        layers.append(Block(inputs, width, bottleneck=bottleneck, **options))
        inputs = 4 * width if bottleneck else width
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, outputs))
    network = Network(layers, head if attention else LargeHead(inputs, outputs), body_lr=1.0 if attention else 0.1)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    return network


NARROW = {
    "xresnet18ssa": partial(narrow, attention=True),
    "xresnet34ssa": partial(narrow, attention=True),
    "xresnet34": partial(narrow, attention=False),
    "xresnet50": partial(narrow, attention=False, bottleneck=True),
}
assert NARROW.keys() == NETWORKS.keys()
