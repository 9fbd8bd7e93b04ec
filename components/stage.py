"""`@stage(image=...)`: defines a stage that runs in a subprocess, in a container and on a cluster."""

from collections.abc import Callable
from typing import Any

from kfp import dsl

from components.images import image as image_reference


def stage(*, image: str) -> Callable[..., Any]:
    """Return a decorator that turns a function, whose body is an import and a call, into a KFP component.

    Nothing is installed when the component starts: the image contains Python, kfp and the library.

    Args:
        image: A target of docker/Dockerfile: "data", "training" or "results".
    """
    return lambda function: dsl.component(function, base_image=image_reference(image), install_kfp_package=False)
