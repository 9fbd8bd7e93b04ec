"""The device to compute on, and the precision to compute in."""

from contextlib import AbstractContextManager
from typing import TypeVar

import torch
from torch import nn

from audiotagging.base.errors import UserError
from audiotagging.base.wording import pluralize

AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)


def best_device() -> torch.device:
    """Return the GPU if there is one, and otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def named_device(name: str) -> torch.device:
    """Return the device that a user names: "cpu", "cuda", or "cuda:1" for the second GPU.

    Raises:
        UserError: If there is no such device.
    """
    kind, _, number = name.partition(":")
    count = {"cpu": 1, "cuda": torch.cuda.device_count()}.get(kind, 0)
    if not (number or "0").isdecimal() or int(number or 0) >= count:
        raise UserError(f"device: expected cpu, or cuda where there is an NVIDIA GPU, found {name!r}; omit it")
    return torch.device(name)


def move(network: AnyNetwork, device: torch.device) -> AnyNetwork:
    """Move a network to the device, convert it to channels-last memory format, and return it."""
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def device_name(device: torch.device) -> str:
    """Return the name of the device, as a report shows it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.cpu.get_capabilities().get('cpu_name', 'CPU')}, {pluralize(torch.get_num_threads(), 'thread')}"


def has_bfloat16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Return the autocast context in which networks run.

    Args:
        device: The device that the networks run on.
        precision: "auto" for bfloat16 if the device supports it in hardware, or "float32" for float32 throughout.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "auto" and has_bfloat16(device))


def allow_tf32(precision: str) -> None:
    """Allow a GPU to use TensorFloat-32 for float32 matrix products, unless the precision is "float32"."""
    allowed = precision == "auto"
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
