"""`run --docker`: the stages in their images, by KFP's DockerRunner, each shut in with its data and its outputs."""

import argparse
import contextlib
import logging
import os
import threading
from pathlib import Path
from typing import Any

from docker.client import DockerClient
from docker.errors import DockerException, ImageNotFound
from docker.models.containers import Container
from docker.types import DeviceRequest, Mount
from docker.utils import parse_bytes
from kfp import local

from audiotagging.errors import UserError
from components.images import TARGETS, image

KILLED = 137  # exit code of a process that got SIGKILL: 128 + 9
LEAST_MEMORY = 6 * 2**20  # bytes that Docker gives a container at least
SHARED_MEMORY = "1g"  # worker processes pass arrays through /dev/shm, of which a container has 64 MiB by itself

running: set[Container] = set()


def docker_runner(*, data: Path, models: Path | None = None, memory: str | None = None) -> local.DockerRunner:
    """Return KFP's Docker runner for containers that see nothing but what they need.

    They run as the caller, who so owns what they write, without a network, with the data and everything else
    read-only except /tmp and, mounted by KFP, the outputs. They get the GPUs if the engine can pass them on.

    Args:
        data: The data folder, which has the same path inside; what links in it point to is there too.
        models: The models location, which has too and may be written to.
        memory: Most memory that a stage may use, as "8g"; None for no limit.

    Raises:
        UserError: If no engine answers or an image is missing.
    """
    try:
        client = DockerClient.from_env()
        info = client.info()
    except DockerException as error:
        raise UserError(f"no Docker engine answers: start one, or run without --docker ({error})") from None
    with contextlib.closing(client):
        for target in TARGETS:
            _find(client, image(target))
    logging.disable(logging.INFO)  # kfp tells how it would install packages
    runner = local.DockerRunner(
        user=f"{os.getuid()}:{os.getgid()}",
        mounts=[
            *(Mount(str(path), str(path), type="bind", read_only=True) for path in with_linked(data)),
            *([Mount(str(models), str(models), type="bind")] if models else []),
        ],
        read_only=True,
        tmpfs={"/tmp": "mode=1777"},
        shm_size=SHARED_MEMORY,
        network_mode="none",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        device_requests=[DeviceRequest(count=-1, capabilities=[["gpu"]])] if "nvidia" in info["Runtimes"] else [],
        mem_limit=memory,
        memswap_limit=memory,
    )
    logging.disable(logging.NOTSET)
    return runner


def with_linked(folder: Path) -> list[Path]:
    """Return a folder, and what the links in it point to: so data in Zenodo's layout are brought into this one."""
    return [folder, *sorted({path.resolve() for path in folder.iterdir() if path.is_symlink() and path.exists()})]


def memory_size(text: str) -> str:
    """Check a size as the command line takes it, "8g" or "512m".

    Raises:
        argparse.ArgumentTypeError: If it is none.
    """
    try:
        enough = parse_bytes(text) >= LEAST_MEMORY
    except DockerException:
        enough = False
    if not enough:
        raise argparse.ArgumentTypeError(f"expected a size of at least 6m, as 8g, found {text!r}")
    return text


def _find(client: DockerClient, reference: str) -> None:
    """Pull an image that is not on this machine, if it has a registry."""
    try:
        client.images.get(reference)
    except ImageNotFound:
        try:
            if "/" not in reference:
                raise UserError(f"image {reference} is not here: build the images of this code, make images") from None
            client.images.pull(reference)
        except DockerException as error:
            raise UserError(f"image {reference} is neither here nor can it be pulled ({error})") from None


def run_container(
    client: DockerClient, image: str, command: list[str], volumes: dict[str, Any], **arguments: Any
) -> int:
    """Run a stage's container, print what it prints, remove it and return its exit code.

    Stands in for kfp's function of the same arguments, which takes a container that is gone before it could ask for
    the exit code for a success, does not tell one that was killed for memory, and leaves it running when interrupted.

    Raises:
        MemoryError: If it was killed, as happens for want of memory.
    """
    container = client.containers.run(image, command, volumes=volumes, detach=True, **arguments)
    running.add(container)
    try:
        for piece in container.logs(stream=True):
            print(piece.decode(errors="replace"), end="")
        code = container.wait()["StatusCode"]
        container.reload()
        if code and container.attrs["State"]["OOMKilled"]:
            limit = f"the {arguments['mem_limit']} of --memory" if arguments.get("mem_limit") else "there is"
            raise MemoryError(f"killed, because it needed more memory than {limit}")
        if code == KILLED:
            raise MemoryError("killed from outside, as happens when a machine runs out of memory")
        return code
    finally:
        running.discard(container)
        container.remove(force=True)


def stop_containers(seconds: float) -> None:
    """Tell the stages in all running containers to stop, wait for them, but not longer, and remove the containers."""

    def stop(container: Container) -> None:
        with contextlib.suppress(DockerException, OSError):
            container.exec_run(["sh", "-c", "kill -TERM -1"])  # a shell is process 1, and passes no signal on
            container.wait(timeout=seconds)
        with contextlib.suppress(DockerException):  # that who started it has already removed it
            container.remove(force=True)

    threads = [threading.Thread(target=stop, args=[container], daemon=True) for container in list(running)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
