"""The four networks: residual networks with the tweaks of He et al. 2018 (arXiv:1812.01187).

`NETWORKS[name](outputs)` builds a network. It maps normalised pictures (batch, 3, mels, frames) to logits
(batch, outputs). Three details matter:

* The "ssa" networks have one layer of simple self-attention, which starts as the identity.
* The last batch norm of a block starts with weight zero, so that the block starts as its shortcut.
* The body of a network with the large head trains at a tenth of the learning rate (`Network.parameter_groups`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d
from torch.nn.utils.parametrizations import spectral_norm


def conv_norm(inputs: int, outputs: int, *, size: int = 3, stride: int = 1) -> nn.Sequential:
    """Return a convolution followed by batch norm. The convolution divides height and width by the stride."""
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class SimpleSelfAttention(nn.Module):
    """Self-attention without softmax: x + gamma x (x^T (W x)), where W is a 1 x 1 convolution with spectral norm.

    The product is computed as (x x^T) (W x), which gives the same result with a matrix of channels x channels instead
    of positions x positions. This takes 64 times less work for pictures of 256 pixels.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.convolution = nn.Conv1d(channels, channels, 1, bias=False)
        nn.init.kaiming_normal_(self.convolution.weight)
        spectral_norm(self.convolution)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to the same shape."""
        with torch.autocast(x.device.type, enabled=False):
            weight = self.convolution.weight[:, :, 0]  # the spectral norm's power iteration needs float32
        positions = x.flatten(2)  # (B, C, N)
        gram = positions @ positions.transpose(1, 2)  # (B, C, C)
        attended = gram @ (weight @ positions)  # (B, C, N)
        return x + self.gamma * attended.view_as(x)


class Halving(nn.Module):
    """The average over windows of 2 x 2, which halves height and width and rounds up, as a block's convolutions do.

    With `repeats`, a map of 3 x 3 becomes 1 x 1, and the addition in the block repeats that. Models for pictures of 45
    to 48 pixels were trained so when 3 was the only odd size that the networks took.
    """

    def __init__(self, *, repeats: bool):
        super().__init__()
        self.repeats = repeats

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to (batch, channels, height / 2, width / 2), rounded up."""
        return avg_pool2d(x, 2, ceil_mode=not (self.repeats and x.shape[-1] == 3))


class Block(nn.Module):
    """A residual block. Where the shape changes, the shortcut has a pooling layer, a 1 x 1 convolution, or both."""

    def __init__(
        self,
        inputs: int,
        width: int,
        *,
        stride: int,
        bottleneck: bool,
        attention: bool = False,
        repeats: bool = False,
    ):
        """Build a block.

        Args:
            inputs: Number of input channels.
            width: Number of channels in the branch. The output has as many, or four times as many with a bottleneck.
            stride: Stride of the first 3 x 3 convolution of the branch, 1 or 2.
            bottleneck: Whether the branch has 1 x 1, 3 x 3 and 1 x 1 convolutions instead of two 3 x 3 convolutions.
            attention: Whether the branch ends with simple self-attention.
            repeats: As in `Halving`.
        """
        super().__init__()
        outputs = 4 * width if bottleneck else width
        if bottleneck:
            convolutions = [
                conv_norm(inputs, width, size=1),
                conv_norm(width, width, stride=stride),
                conv_norm(width, outputs, size=1),
            ]
        else:
            convolutions = [conv_norm(inputs, width, stride=stride), conv_norm(width, outputs)]
        nn.init.zeros_(convolutions[-1].get_parameter("1.weight"))
        self.attention = SimpleSelfAttention(outputs) if attention else nn.Identity()
        self.convolutions = nn.ModuleList(convolutions)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut.append(Halving(repeats=repeats))
        if inputs != outputs:
            self.shortcut.append(conv_norm(inputs, outputs, size=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, height, width) to (batch, outputs, height / stride, width / stride), rounded up."""
        branch = x
        for convolution in self.convolutions[:-1]:
            branch = convolution(branch).relu_()
        branch = self.attention(self.convolutions[-1](branch))
        return (branch + self.shortcut(x)).relu_()


class LargeHead(nn.Module):
    """The maximum and the average over all positions, followed by two linear layers with batch norm and dropout."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(2 * inputs),
            nn.Dropout(0.25),
            nn.Linear(2 * inputs, 512),
            nn.ReLU(inplace=True),
            nn.BatchNorm1d(512),
            nn.Dropout(0.5),
            nn.Linear(512, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, height, width) to (batch, outputs)."""
        return self.layers(torch.cat([x.amax((2, 3)), x.mean((2, 3))], dim=1))


class Network(nn.Module):
    """A convolutional body and a head.

    Attributes:
        body: Maps pictures (batch, 3, mels, frames) to features (batch, channels, mels / 32, frames / 32), rounded up.
        head: Maps features to logits (batch, outputs).
        body_lr: The body's learning rate as a share of the head's.
    """

    def __init__(self, body: nn.Module, head: nn.Module, *, body_lr: float = 1.0):
        super().__init__()
        self.body = body
        self.head = head
        self.body_lr = body_lr

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (batch, 3, mels, frames) to logits (batch, outputs) in float32.

        Under autocast only the body uses bfloat16. Logits with its few digits would tie, and ties lower the lwlrap.
        """
        features = self.body(pictures)
        with torch.autocast(features.device.type, enabled=False):
            return self.head(features.to(pictures.dtype))

    def freeze_body(self, frozen: bool) -> None:
        """Let the body keep its weights, or learn again.

        As in fastai, batch norm still learns its weights and statistics in a frozen body: they adapt the features to
        other sounds.
        """
        for module in self.body.modules():
            if not isinstance(module, nn.BatchNorm2d):
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad_(not frozen)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the parameter groups for the optimiser, each with "params" and its "share" of the learning rate."""
        return [
            {"params": list(self.body.parameters()), "share": self.body_lr},
            {"params": list(self.head.parameters()), "share": 1.0},
        ]


def body(
    stem: Sequence[int], blocks: Sequence[int], *, bottleneck: bool = False, attention: bool = False
) -> nn.Sequential:
    """Return a residual body.

    Args:
        stem: Number of channels of each of the first three convolutions.
        blocks: Number of blocks in each of the four groups, which have widths of 64, 128, 256 and 512 channels.
        bottleneck: Whether the blocks are bottlenecks, whose outputs have four times as many channels.
        attention: Whether the last block of the first group has simple self-attention.
    """
    layers = nn.Sequential()
    inputs = 3
    for width, stride in zip(stem, (2, 1, 1), strict=True):
        layers.append(conv_norm(inputs, width, stride=stride).append(nn.ReLU(inplace=True)))
        inputs = width
    layers.append(nn.MaxPool2d(3, 2, padding=1))
    for stage, (width, count) in enumerate(zip((64, 128, 256, 512), blocks, strict=True)):
        for number in range(count):
            block = Block(
                inputs,
                width,
                stride=2 if stage > 0 and number == 0 else 1,
                bottleneck=bottleneck,
                attention=attention and stage == 0 and number == count - 1,
                repeats=not attention,
            )
            layers.append(block)
            inputs = 4 * width if bottleneck else width
    return layers


def attentive(outputs: int, *, blocks: Sequence[int]) -> Network:
    """Return a network with simple self-attention. Its head is a linear layer on the average over all positions."""
    linear = nn.Linear(512, outputs)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)
    network = Network(body((32, 64, 64), blocks, attention=True), head)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    nn.init.kaiming_normal_(linear.weight)
    nn.init.zeros_(linear.bias)
    return network


def large_headed(outputs: int, *, blocks: Sequence[int], bottleneck: bool = False) -> Network:
    """Return a network with the large head. Its body trains at a tenth of the learning rate."""
    head = LargeHead(2048 if bottleneck else 512, outputs)
    network = Network(body((32, 32, 64), blocks, bottleneck=bottleneck), head, body_lr=0.1)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)
    return network


def xresnet18ssa(outputs: int) -> Network:
    """Return the network of members 1 and 3.

    Examples:
        >>> network = xresnet18ssa(outputs=320).eval()
        >>> network(torch.rand(2, 3, 64, 64)).shape
        torch.Size([2, 320])
    """
    return attentive(outputs, blocks=(2, 2, 2, 2))


def xresnet34ssa(outputs: int) -> Network:
    """Return the network of members 2 and 4."""
    return attentive(outputs, blocks=(3, 4, 6, 3))


def xresnet34(outputs: int) -> Network:
    """Return the network of member 5."""
    return large_headed(outputs, blocks=(3, 4, 6, 3))


def xresnet50(outputs: int) -> Network:
    """Return the network of member 6."""
    return large_headed(outputs, blocks=(3, 4, 6, 3), bottleneck=True)


NETWORKS: dict[str, Callable[[int], Network]] = {
    "xresnet18ssa": xresnet18ssa,
    "xresnet34ssa": xresnet34ssa,
    "xresnet34": xresnet34,
    "xresnet50": xresnet50,
}
