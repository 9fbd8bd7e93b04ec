"""`@stage(image=...)`: defines a stage that runs in a subprocess, in a container and on a cluster."""

from collections.abc import Callable
from typing import Any

from kfp import dsl

from components.images import image as image_reference

EXECUTOR = "kfp.dsl.executor_main"  # in the command that kfp writes


def stage(*, image: str) -> Callable[..., Any]:
    """Return a decorator that turns a function, whose body is an import and a call, into a KFP component.

    Nothing is installed when the component starts: the image contains Python, kfp and the library. kfp's program calls
    the function, and the library's gate runs that program.

    Args:
        image: A target of docker/Dockerfile, one of `images.TARGETS`.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        component = dsl.component(function, base_image=image_reference(image), install_kfp_package=False)
        container = component.component_spec.implementation.container
        assert any(EXECUTOR in part for part in container.command)
        container.command = [part.replace(EXECUTOR, f"audiotagging.base.gate {EXECUTOR}") for part in container.command]
        return component

    return decorate
