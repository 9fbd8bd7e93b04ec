"""Networks as the published programs built them: their names of tensors, and weights made of formulas."""

import json
from pathlib import Path

import torch
from torch import nn

# Made by running the original code: the parameters, the names and shapes of all tensors, and logits.
REFERENCE = json.loads((Path(__file__).parent.parent / "reference" / "xresnet.json").read_text())


def described_weights(number, name, shape):
    """Return the fixed weights of tensor `number` of a state dict, under its name in the original."""
    count = torch.Size(shape).numel()
    t = torch.sin(0.37 * torch.arange(count, dtype=torch.float64) + number)
    if name.endswith("running_var"):
        t = 1 + 0.1 * t.abs()
    elif name.endswith("running_mean"):
        t = 0.1 * t
    elif name.endswith(("weight_u", "weight_v")):
        t = t / t.norm()
    elif len(shape) > 1:
        t = t * (2 / (count / shape[0])) ** 0.5
    elif name.endswith("gamma"):
        t = torch.full((count,), 0.01)
    elif name.endswith("weight"):
        t = 1 + 0.1 * t
    else:
        t = 0.1 * t
    return t.float().reshape(shape)


def published_state(network):
    """Return the state dict of a published network of 80 classes, with its names and fixed weights."""
    state = {}
    for number, (name, shape) in enumerate(REFERENCE[network]["state"]):
        counts = name.endswith("num_batches_tracked")
        state[name] = torch.tensor(7) if counts else described_weights(number, name, shape)
    return state


def fixed_pictures():
    """Return the two pictures that the logits of `REFERENCE` belong to."""
    return torch.sin(0.013 * torch.arange(2 * 3 * 128 * 128, dtype=torch.float64)).reshape(2, 3, 128, 128)


def conv_layer(inputs, outputs, size=3, stride=1, *, relu=True):
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), *([nn.ReLU()] if relu else []))


class LaterBlock(nn.Module):
    """A block of fastai 1.0.52 and later (`convs`, `idconv`), or of fastai 2 (`convpath`, `idpath`)."""

    def __init__(self, inputs, width, stride, *, expansion, version):
        super().__init__()
        outputs = width * expansion
        if expansion == 1:
            layers = [conv_layer(inputs, width, 3, stride), conv_layer(width, outputs, relu=False)]
        else:
            layers = [conv_layer(inputs, width, 1), conv_layer(width, width, 3, stride)]
            layers += [conv_layer(width, outputs, 1, relu=False)]
        pool = [nn.AvgPool2d(2, ceil_mode=True)] if stride == 2 else []
        widen = [conv_layer(inputs, outputs, 1, relu=False)] if inputs != outputs else []
        if version == 1:
            self.convs = nn.Sequential(*layers)
            if widen:
                self.idconv = widen[0]
            self.pool = nn.Sequential(*pool)
        else:
            self.convpath = nn.Sequential(*layers)
            self.idpath = nn.Sequential(*pool, *widen)
        self.version = version

    def forward(self, x):
        if self.version == 2:
            return torch.relu(self.convpath(x) + self.idpath(x))
        pooled = self.pool(x)
        return torch.relu(self.convs(x) + (self.idconv(pooled) if hasattr(self, "idconv") else pooled))


def later_xresnet(counts, *, expansion, version, outputs=1000, stem=(32, 32, 64)):
    """Return an xresnet of fastai 1.0.52 and later, or of fastai 2, with random weights everywhere."""
    layers = [conv_layer(*sizes, stride=stride) for *sizes, stride in zip((3, *stem), stem, (2, 1, 1), strict=False)]
    layers.append(nn.MaxPool2d(3, 2, 1))
    inputs = 64
    for group, count in enumerate(counts):
        width, blocks = 64 << group, []
        for number in range(count):
            stride = 2 if group and not number else 1
            blocks.append(LaterBlock(inputs, width, stride, expansion=expansion, version=version))
            inputs = width * expansion
        layers.append(nn.Sequential(*blocks))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), *([nn.Dropout(0)] if version == 2 else [])]
    network = nn.Sequential(*layers, nn.Linear(inputs, outputs))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1)
            nn.init.normal_(module.running_mean, std=0.1)
    return network
