"""`@stage(image=...)`: one definition of a stage for a subprocess, a container and a cluster."""

from collections.abc import Callable
from typing import Any

from kfp import dsl

from components.images import image as image_reference


def stage(*, image: str) -> Callable[..., Any]:
    """Return a decorator that makes a KFP component of a function whose body is an import and a call.

    Nothing is installed when it starts: the image holds Python, kfp and the library.

    Args:
        image: A target of docker/Dockerfile: "data", "training" or "results".
    """
    return lambda function: dsl.component(function, base_image=image_reference(image), install_kfp_package=False)
