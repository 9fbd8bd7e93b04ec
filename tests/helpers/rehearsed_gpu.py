"""A GPU that is not there: its tensors have no values, but raise where they meet the CPU's, by torch's own rules.

What is on the CPU stays as it is, so that whole stages run: torch computes with fake tensors only what is on the GPU.
What comes back from there is one everywhere. Gradients are zero, because autograd computes them on real devices alone.
"""

from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from audiotagging.training.augmentation import nearest_pixels

CUDA = torch.device("cuda", 0)
WAITS = {
    getattr(torch.Tensor, name)
    for name in ("cpu", "item", "tolist", "__bool__", "__float__", "__int__", "__index__", "__format__")
}
INDEXED = {torch.Tensor.__getitem__, torch.Tensor.__setitem__}
RANDOM_STATE = torch.zeros(16, dtype=torch.uint8)  # of the GPU's generator: a seed and an offset, 8 bytes each
ANSWERS = {  # of the functions of torch.cuda that the library calls
    "is_available": lambda: True,
    "device_count": lambda: 1,
    "is_bf16_supported": lambda including_emulation=True: True,
    "get_device_name": lambda device: "rehearsed GPU",
    "get_rng_state": lambda device: RANDOM_STATE,
}


class NoDriver(FakeTensorMode):
    """Starts no driver, although `torch.cuda.is_available` says that there is one."""

    avoid_device_init = True


class RehearsedGpu(TorchFunctionMode):
    """Calls functions of torch with fake tensors where one of their arguments is on the GPU, or names it."""

    def __init__(self):
        super().__init__()
        self.fake = NoDriver(allow_non_fake_inputs=True)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in WAITS and is_on_gpu(args[0]):
            return function(on_the_host(args[0]), *args[1:], **kwargs)
        if function is torch.Tensor.backward and is_on_gpu(args[0]):
            return give_gradients(args[0])
        if function in INDEXED:
            check_indices(*args)
        if any(map(is_on_gpu, tree_leaves((args, kwargs)))):
            with self.fake:
                return function(*args, **kwargs)
        return function(*args, **kwargs)


def is_on_gpu(argument):
    """Return whether an argument is a tensor on the GPU, or names the GPU."""
    if isinstance(argument, str | torch.device):
        return str(argument).startswith("cuda")
    return isinstance(argument, FakeTensor) and argument.device == CUDA


def check_indices(tensor, *others):
    """Check that indices and values are where the tensor is. Torch copies some at once, and so waits for the GPU."""
    for other in tree_leaves(others):
        if isinstance(other, torch.Tensor) and (other.ndim or is_on_gpu(other)):
            assert is_on_gpu(other) == is_on_gpu(tensor), "a tensor of one device is indexed from another device"


def on_the_host(tensor):
    """Return what comes back from the GPU: a tensor of ones."""
    return torch.ones(tensor.shape, dtype=tensor.dtype)


def give_gradients(loss):
    """Give all weights that a loss depends on a gradient of zero."""
    nodes, seen = [loss.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        nodes += [following for following, _ in node.next_functions]
        if hasattr(node, "variable"):
            node.variable.grad = torch.zeros_like(node.variable)


def move_weight(old, new):
    """Do what `torch.utils.swap_tensors` does for `Module.to`: that one refuses fake tensors."""
    old.fake_device = new.fake_device


def take_random_state(state, device):
    """Check a state of the GPU's generator, which torch takes from the CPU alone."""
    assert not is_on_gpu(state) and state.dtype == torch.uint8


def pin(tensor):
    """Check that memory to pin is the CPU's."""
    assert not is_on_gpu(tensor)
    return tensor


@contextmanager
def rehearsed_gpu(*, memory=2**34):
    """Have a GPU with so many bytes of memory."""
    patches = [
        patch.multiple(torch.cuda, **ANSWERS, mem_get_info=lambda device: (memory, memory)),
        patch.object(torch.cuda, "set_rng_state", take_random_state),
        patch.object(torch.Tensor, "pin_memory", pin),
        patch.object(torch.utils, "swap_tensors", move_weight),
        patch.object(torch.optim.Optimizer, "_accelerator_graph_capture_health_check", lambda optimiser: None),
        patch.object(torch._C, "_InferenceMode", lambda mode: torch.no_grad()),  # which fake tensors do not know
        patch.object(fake_tensor, "init_gpu_context", lambda device: None),
        patch.object(FakeTensor, "__reduce_ex__", lambda tensor, protocol: on_the_host(tensor).__reduce_ex__(protocol)),
    ]
    with ExitStack() as stack:
        nearest_pixels.cache_clear()
        stack.callback(nearest_pixels.cache_clear)
        for each in [*patches, RehearsedGpu()]:
            stack.enter_context(each)
        yield
