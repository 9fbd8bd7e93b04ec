"""Reads weights of any origin to start a training with, and puts them into a network.

They are a model of this project, its weights alone, or the state dict of a published network, in
safetensors or as `torch.save` writes it. Files may come from anybody: of a file of torch, only tensors and plain values
are unpickled, and no code is run.

Translates the names of tensors in files of the published networks into the names that our networks use.

The files come from fastai 1 (the published solution, whose `learn.save` wrote them, and fastai's own xresnets) and from
fastai 2. In all of them a network is a sequence of three layers of the stem (0 to 2), a pooling layer, four groups of
blocks (4 to 7) and a linear layer. A learner with a large head has a sequence of body and head, so that the names start
with `0.` or `1.`. Our body numbers all blocks without groups.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from audiotagging.artifacts.model_folder import Start, check_weights, read_metadata, weights_path
from audiotagging.base.errors import UserError
from audiotagging.base.files import regular, sha256
from audiotagging.base.machine import check_machine
from audiotagging.training.augmentation import VIEWS
from audiotagging.training.networks import NETWORKS, Network

PARTED = "0.0.0.weight"  # is in a file of body and head
STEM = re.compile(r"[0-2]\.[01]\.\w+")
BLOCK = re.compile(r"(?P<group>[4-7])\.(?P<number>\d+)\.(?P<rest>.+)")
LINEAR = re.compile(r"1[01]\.(weight|bias)")
HEAD = re.compile(r"1\.(\d+)\.(\w+)")
FIRST_BLOCK = 4  # its number in our body
POOLS = 2  # layers that pool and flatten at the start of a published head; ours have no number

# Patterns of names within a block, and how ours is made of the match and of whether the block halves the picture. The
# shortcut of such a block starts with pooling, which is layer 0.
IN_BLOCK: dict[str, Callable[[re.Match[str], bool], str]] = {
    r"sa\.gamma": lambda match, halves: "attention.gamma",
    r"sa\.conv\.weight_orig": lambda match, halves: "attention.convolution.parametrizations.weight.original",
    r"sa\.conv\.weight_([uv])": lambda match, halves: f"attention.convolution.parametrizations.weight.0._{match[1]}",
    r"(?:convs|convpath)\.(.+)": lambda match, halves: f"convolutions.{match[1]}",
    r"conv([1-3])\.(.+)": lambda match, halves: f"convolutions.{int(match[1]) - 1}.0.{match[2]}",
    r"bn([1-3])\.(.+)": lambda match, halves: f"convolutions.{int(match[1]) - 1}.1.{match[2]}",
    r"(?:idconv|idpath\.[01])\.(.+)": lambda match, halves: f"shortcut.{halves:d}.{match[1]}",
    r"downsample\.([0-2])\.(.+)": lambda match, halves: f"shortcut.{halves:d}.{int(match[1]) - halves}.{match[2]}",
}


def our_names(published: Collection[str]) -> dict[str, str]:
    """Return our name of every tensor in a file, by its published name. A name of another network stays as it is.

    Examples:
        >>> our_names(["0.0.weight", "4.0.convs.0.1.bias", "4.1.sa.gamma", "5.0.idconv.0.weight", "10.bias"])
        ... # doctest: +NORMALIZE_WHITESPACE
        {'0.0.weight': 'body.0.0.weight',
         '4.0.convs.0.1.bias': 'body.4.convolutions.0.1.bias',
         '4.1.sa.gamma': 'body.5.attention.gamma',
         '5.0.idconv.0.weight': 'body.6.shortcut.1.0.weight',
         '10.bias': 'head.2.bias'}
    """
    prefix = "0." if PARTED in published else ""
    matches = [BLOCK.fullmatch(name.removeprefix(prefix)) for name in published if name.startswith(prefix)]
    blocks = sorted({(int(match["group"]), int(match["number"])) for match in matches if match})
    places = {block: place for place, block in enumerate(blocks, FIRST_BLOCK)}
    ours = {}
    for name in published:
        if prefix and (match := HEAD.fullmatch(name)):
            ours[name] = f"head.layers.{int(match[1]) - POOLS}.{match[2]}"
        elif not prefix and (match := LINEAR.fullmatch(name)):
            ours[name] = f"head.2.{match[1]}"
        else:
            ours[name] = _in_body(name.removeprefix(prefix), places) or name
    return ours


def _in_body(name: str, places: Mapping[tuple[int, int], int]) -> str | None:
    if STEM.fullmatch(name):
        return f"body.{name}"
    if block := BLOCK.fullmatch(name):
        group, place = int(block["group"]), places.get((int(block["group"]), int(block["number"])))
        for pattern, ours in IN_BLOCK.items():
            if match := re.fullmatch(pattern, block["rest"]):
                return f"body.{place}.{ours(match, group > 4)}"
    return None


OURS = "body.0.0.weight"  # is in all files with our names
WRAPPERS = ("model", "state_dict")  # keys under which other programs save a state dict, beside that of the optimiser
COUNTERS = ".num_batches_tracked"  # of batch norm; torch before 0.4.1 did not have them, and nothing needs them
CODE = re.compile(r"GLOBAL ([\w.]+)")  # in torch's message about pickled code

# Names that the published program gave to the classes of the views. It sorted all of them: that order is the outputs'.
VIEW_SUFFIXES = ("", "_flip", "_vert", "_flip_vert")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Weights:
    """Weights in a file.

    Attributes:
        path: The file, or the folder of the model.
        sha256: SHA-256 digest of the file, in hexadecimal digits.
        network: The network that they are for.
        tensors: Tensors in float32 by our names: all of the body, and what the file has of a head.
        classes: The classes, in the order of the outputs. None if the file does not name them.
        published: Whether the file has published names, and therefore the published order of outputs.
    """

    path: Path
    sha256: str
    network: str
    tensors: dict[str, Tensor]
    classes: list[str] | None
    published: bool

    @property
    def digest(self) -> str:
        """Digest of everything that `start_with` puts into a network."""
        return hashlib.sha256("\n".join([self.sha256, *(self.classes or [])]).encode()).hexdigest()


def read_weights(path: Path) -> Weights:
    """Read weights of a network of this project.

    Args:
        path: The folder of a model, or a file in safetensors or of torch.

    Raises:
        UserError: If the file is missing, damaged or contains anything but weights of one of the networks.
    """
    classes = None
    file = path
    if path.is_dir():
        check_weights(path)
        file, classes = weights_path(path), read_metadata(path).classes
    found = _read_tensors(file)
    published = OURS not in found
    if published:
        names = our_names(found)
        found = {names[name]: tensor for name, tensor in found.items()}
    tensors = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in found.items()}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise UserError(f"{file}: expected finite weights, found others in {name[:80]}; copy the file again")
    return Weights(path, sha256(file), _network_of(file, tensors), tensors, classes, published)


def _read_tensors(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a file by their names in it."""
    try:
        content = load_file(regular(file)) if file.suffix == ".safetensors" else _load_torch(regular(file))
    except OSError as error:
        check_machine(error)
        raise UserError(f"{file}: expected a file of weights, found none that can be read ({error})") from error
    except SafetensorError as error:
        check_machine(error)
        raise UserError(f"{file}: expected complete weights, found a corrupt file ({error}); copy it again") from error
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    values = list(content.values()) if isinstance(content, Mapping) else []
    if not values or not all(isinstance(value, Tensor) for value in values):
        raise UserError(
            f"{file}: expected a state dict, which has nothing but tensors, found {type(content).__name__}; "
            "save model.state_dict()"
        )
    return dict(content)


def _load_torch(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged file can make torch fail in any way
        check_machine(error)
        if match := CODE.search(str(error)):
            raise UserError(
                f"{file}: expected tensors, found pickled code ({match[1][:80]}), which is not run; "
                "save model.state_dict() alone"
            ) from error
        raise UserError(
            f"{file}: expected weights that torch.save wrote, found a corrupt or another file "
            f"({type(error).__name__}); copy it again"
        ) from error


def _network_of(file: Path, tensors: Mapping[str, Tensor]) -> str:
    """Return the network whose body the tensors are."""
    found = {
        name: list(tensor.shape)
        for name, tensor in tensors.items()
        if not name.startswith("head.") and not name.endswith(COUNTERS)
    }
    bodies = {name: _body_shapes(name) for name in NETWORKS}
    differing = {
        network: [name for name, shape in expected.items() if found[name] != shape]
        for network, expected in bodies.items()
        if found.keys() == expected.keys()
    }
    if differing:
        network = min(differing, key=lambda network: len(differing[network]))
        if differing[network]:
            name = differing[network][0]
            raise UserError(
                f"{file}: expected {name} of {network} to be {bodies[network][name]}, found {found[name]}; name other "
                "weights"
            )
        return network
    closest = min(bodies, key=lambda network: len(found.keys() ^ bodies[network].keys()))
    odd = min(found.keys() - bodies[closest].keys(), default="")
    what = f"the tensor {odd[:80]!r}" if odd else f"no {min(bodies[closest].keys() - found.keys())}"
    raise UserError(
        f"{file}: expected weights of {', '.join(NETWORKS)}, found {what}, unlike {closest}; name weights of one of "
        "these networks"
    )


def _body_shapes(network: str) -> dict[str, list[int]]:
    with torch.device("meta"):
        state = NETWORKS[network](VIEWS).state_dict()
    return {
        name: list(tensor.shape)
        for name, tensor in state.items()
        if name.startswith("body.") and not name.endswith(COUNTERS)
    }


def start_with(network: Network, weights: Weights, classes: Sequence[str]) -> Start:
    """Put weights into a network of the same kind.

    The body and the hidden layers of the head are taken as they are. The last layer has one output per view and class:
    the outputs of the classes that the file has too are taken, and the others stay new.

    Args:
        network: The network, which keeps its new weights where the file has none that fit.
        weights: The weights.
        classes: The classes to train, in the order of the outputs.

    Returns:
        What was taken, and what is new.
    """
    state = network.state_dict()
    outputs = list(state)[-2:]  # weight and bias of the last layer
    counted = [name for name in state if not name.endswith(COUNTERS)]
    new = []
    for name, tensor in state.items():
        found = weights.tensors.get(name)
        if found is None:
            new += [f"{name} ({_size(tensor)}, found none)"] if name in counted else []
            continue
        fits = found.dim() == tensor.dim() and found.shape[1:] == tensor.shape[1:]
        if fits and name in outputs and (places := _outputs(weights, classes, len(found))):
            tensor[list(places)] = found[list(places.values())].to(tensor.device)
            missing = [label for place, label in enumerate(classes) if place not in places]
            new += [f"{name} of {', '.join(missing)}"] if missing else []
        elif found.shape == tensor.shape and name not in outputs:
            tensor.copy_(found)
        else:
            new.append(f"{name} ({_size(tensor)}, found {_size(found)})")
    taken = len(counted) - len(new)
    rest = f"; new: {'; '.join(new)}" if new else ""
    logger.info("took %d of %d tensors of %s%s", taken, len(counted), weights.path, rest)
    return Start(source=str(weights.path), sha256=weights.sha256, taken=taken, tensors=len(counted), new=new)


def _size(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))


def _outputs(weights: Weights, classes: Sequence[str], number: int) -> dict[int, int]:
    """Return, for each of our outputs that a file has too, its place in the file.

    A file that does not name its classes is taken to have ours if it has as many.

    Args:
        weights: The weights.
        classes: Our classes.
        number: Number of outputs in the file.
    """
    theirs = classes if weights.classes is None else weights.classes
    if number != VIEWS * len(theirs):
        return {}
    outputs = [(view, label) for view in range(VIEWS) for label in theirs]
    if weights.published:
        outputs.sort(key=lambda output: output[1] + VIEW_SUFFIXES[output[0]])
    ours = [(view, label) for view in range(VIEWS) for label in classes]
    places = {output: place for place, output in enumerate(outputs)}
    return {place: places[output] for place, output in enumerate(ours) if output in places}
