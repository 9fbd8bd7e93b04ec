"""`run --docker`: runs the stages in their images with KFP's DockerRunner, isolated with their data and outputs."""

import argparse
import contextlib
import logging
import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from docker.client import DockerClient
from docker.errors import DockerException, ImageNotFound
from docker.models.containers import Container
from docker.types import DeviceRequest, Mount
from docker.utils import parse_bytes
from kfp import local

from audiotagging.base.errors import UserError
from audiotagging.base.processes import STDIN_IS_OPEN
from commands.folders import with_linked

KILLED = 137  # exit code of a process killed by SIGKILL: 128 + 9
LEAST_MEMORY = 6 * 2**20  # bytes, the smallest memory limit that Docker accepts
LABEL = "audiotagging.work"  # of a container: the working folder of its run
SHARED_MEMORY = "1g"  # worker processes pass arrays through /dev/shm, which has only 64 MiB by default

running: set[Container] = set()


def docker_runner(
    *,
    images: Iterable[str],
    data: Sequence[Path],
    work: Path,
    writable: Sequence[Path] = (),
    memory: str | None = None,
) -> local.DockerRunner:
    """Return KFP's Docker runner, configured so that containers have access only to what they need.

    Containers run as the caller, who therefore owns what they write, and without a network. Everything is read-only
    except /tmp and the outputs, which KFP mounts. Containers get the GPUs if the engine supports that.

    Args:
        images: The images of the stages.
        data: The data folder, files of corrections, and weights to start with. They are mounted under the same paths,
            and so are the targets of links in a folder.
        work: The working folder of the run, which is locked. Containers that a killed run left there are removed.
        writable: Folders that are mounted under the same paths and are writable.
        memory: Memory limit of a stage, such as "8g". None for no limit.

    Raises:
        UserError: If no Docker engine is running, or if an image is missing.
    """
    try:
        client = DockerClient.from_env()
        info = client.info()
    except DockerException as error:
        raise UserError(f"no Docker engine is running ({error}); start one, or run without --docker") from None
    with contextlib.closing(client):
        for image in images:
            _find(client, image)
        for container in client.containers.list(all=True, filters={"label": f"{LABEL}={work}"}):
            container.remove(force=True)
    logging.disable(logging.INFO)  # kfp logs how it would install packages
    runner = local.DockerRunner(
        user=f"{os.getuid()}:{os.getgid()}",
        mounts=[
            *(
                Mount(str(path), str(path), type="bind", read_only=True)
                for path in sorted({path for each in data for path in with_linked(each)})
            ),
            *(Mount(str(path), str(path), type="bind") for path in writable),
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
        labels={LABEL: str(work)},
    )
    logging.disable(logging.NOTSET)
    return runner


def add_docker(group: argparse._ArgumentGroup) -> None:
    """Add the options that run stages in containers."""
    group.add_argument("--docker", action="store_true", help="run every stage in its image (built by make images)")
    group.add_argument(
        "--memory", type=memory_size, metavar="SIZE", help="memory limit of a stage with --docker, such as 8g"
    )


def check_docker(args: argparse.Namespace) -> None:
    """Check that these options fit together.

    Raises:
        UserError: If they do not.
    """
    if args.memory and not args.docker:
        raise UserError("--memory limits containers: add --docker, or omit --memory")


def memory_size(text: str) -> str:
    """Check a size on the command line, such as "8g" or "512m".

    Raises:
        argparse.ArgumentTypeError: If it is not a valid size, or too small.
    """
    try:
        enough = parse_bytes(text) >= LEAST_MEMORY
    except DockerException:
        enough = False
    if not enough:
        raise argparse.ArgumentTypeError(f"expected a size of at least 6m, such as 8g, found {text!r}")
    return text


def _find(client: DockerClient, reference: str) -> None:
    """Make sure that an image is on this machine. Pull it if it has a registry."""
    try:
        client.images.get(reference)
    except ImageNotFound:
        try:
            if "/" not in reference:
                raise UserError(
                    f"image {reference} is not on this machine; build it with `make images` in a clone of the project"
                ) from None
            client.images.pull(reference)
        except DockerException as error:
            raise UserError(f"image {reference} is not on this machine and cannot be pulled ({error})") from None


def run_container(
    client: DockerClient, image: str, command: list[str], volumes: dict[str, Any], **arguments: Any
) -> int:
    """Run the container of a stage, print its output, remove it, and return its exit code.

    This replaces kfp's function with the same arguments. That one takes a container for successful if it disappears
    before its exit code is read, does not detect that memory ran out, and leaves the container running after an
    interrupt.

    The container's standard input is open as long as this process is connected to it. The engine closes it when this
    process ends, for whatever reason, and then the stage ends too.

    Raises:
        MemoryError: If the container was killed, most likely because memory ran out.
    """
    environment = arguments.pop("environment", {}) | {STDIN_IS_OPEN: "1"}
    container = client.containers.create(
        image, command, volumes=volumes, environment=environment, stdin_open=True, **arguments
    )
    running.add(container)
    connection = container.attach_socket(params={"stdin": 1, "stream": 1})
    try:
        container.start()
        for piece in container.logs(stream=True):
            print(piece.decode(errors="replace"), end="")
        code = container.wait()["StatusCode"]
        container.reload()
        if code and container.attrs["State"]["OOMKilled"]:
            limit = f"the {arguments['mem_limit']} of --memory" if arguments.get("mem_limit") else "there is"
            raise MemoryError(f"killed, because it needed more memory than {limit}")
        if code == KILLED:
            raise MemoryError("killed from outside, most likely because the machine ran out of memory")
        return code
    finally:
        running.discard(container)
        container.remove(force=True)
        connection.close()


def stop_containers(seconds: float) -> None:
    """Tell the stages in all running containers to stop, wait at most this long, and remove the containers."""

    def stop(container: Container) -> None:
        with contextlib.suppress(DockerException, OSError):
            container.exec_run(["sh", "-c", "kill -TERM -1"])  # process 1 is a shell, which does not pass on signals
            container.wait(timeout=seconds)
        with contextlib.suppress(DockerException):  # if the thread that started it has removed it already
            container.remove(force=True)

    threads = [threading.Thread(target=stop, args=[container], daemon=True) for container in list(running)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
