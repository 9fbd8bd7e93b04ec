"""Everything that this project uses of kfp beyond its public interface: what it replaces, what it reads, and why.

This module is written for one version of kfp, and `check_version` refuses all others. To raise the version, review what
`REPLACED` names and what the patterns match, and run `test_kfp_internals.py`.
"""

import contextlib
import copy
import hashlib
import itertools
import json
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import urlsplit

import kfp
import kfp_server_api
import urllib3
from kfp.dsl import Artifact
from kfp.local import cache, docker_task_handler, logging_utils, subprocess_task_handler, task_dispatcher
from kfp.local.io import IOStore
from kfp.local.orchestrator import enhanced_dag_orchestrator, task_executor, task_spec_utils
from kfp.local.orchestrator.enhanced_dag_orchestrator import ConditionEvaluator
from kfp.local.status import Status

from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_file, digest, open_file, open_text, sha256
from audiotagging.base.typed_json import write_json
from commands.cluster.answers import checked
from commands.local.slots import Slots

VERSION = "2.17"
# kfp's names for an item of the pipeline's parameter `rows`, and of the output `shards` of the stage `find`.
ROW, SHARD = "pipelinechannel--rows-loop-item", "pipelinechannel--find-shards-loop-item"
# By the name of a digest of some content, the names of what says beside it where that content lies.
PLACES = {"fingerprint": ("folder", "downloads"), "sha256": ("path",)}
# How kfp names the folder of a local run: the pipeline, and the time in microseconds.
RUN = re.compile(r"[\w-]+-\d{4}(-\d\d){5}-\d{6}", re.ASCII)
TIMEOUT = 60  # seconds to wait for the answer of a server, and for more of it
MOST_SECONDS, MOST_BYTES = 600, 2**28  # for an answer that is read into memory; that on a run of 30 rows has megabytes
CHUNK = 2**16

ITERATION = "create_parameter_loop_iteration_task_spec"  # makes the description of a loop that of one row

# What is replaced while a pipeline runs on this machine, and the behaviour that is to be avoided.
REPLACED: tuple[tuple[Any, str, str], ...] = (
    (ConditionEvaluator, "_resolve_pipeline_channel", "finds no output of a stage that has several"),
    (task_spec_utils, ITERATION, "gives the stages in a loop its row in place of every output of a stage before"),
    (enhanced_dag_orchestrator, "ParallelExecutor", "runs at most two rows of a loop at once, whatever the limit is"),
    (task_executor, "execute_single_task", "reports only in its log that the outputs of a stage come from the cache"),
    (task_dispatcher, "run_single_task_implementation", "reports only in its log that a stage starts, ends or fails"),
    (subprocess_task_handler, "run_local_subprocess", "leaves the process running if this one is killed"),
    (docker_task_handler, "run_docker_container", "takes a container that disappears early for successful"),
    (cache, "LocalCache", "takes changed outputs from the cache, and none of a cache that was moved"),
    (logging_utils, "local_logger_context", "replaces the handlers of the root logger in several threads at once"),
    (logging_utils, "indented_print", "replaces Python's `print` in several threads at once"),
)

_KFP_ITERATION = task_spec_utils.create_parameter_loop_iteration_task_spec


@dataclass(frozen=True)
class Task:
    """A stage, in the loop for one of its rows or shards.

    Attributes:
        stage: Name of the stage.
        row: The row, or None outside the loop of training.
        shard: Number of the shard, or None outside the loop of tagging.
    """

    stage: str
    row: Mapping[str, Any] | None = None
    shard: int | None = None


class Watcher(Protocol):
    """Is notified of the progress of the stages. Each call comes from the thread in which the stage runs."""

    def started(self, task: Task) -> None:
        """Handle the start of a stage."""

    def ended(self, task: Task, *, succeeded: bool, error: Exception | None = None) -> None:
        """Handle the end of a stage. `error` is the exception that prevented the runner from running it."""

    def cached(self, task: Task) -> None:
        """Handle a stage whose outputs come from the cache."""

    def damaged(self, task: Task) -> None:
        """Handle a stage that runs again, because its outputs in the cache are damaged."""


def check_version() -> None:
    """Check that the installed kfp is the version that this module is written for.

    Raises:
        UserError: If another version is installed.
    """
    if not kfp.__version__.startswith(f"{VERSION}."):
        raise UserError(
            f"expected kfp {VERSION}, found {kfp.__version__}; install the version in pyproject.toml with `make venv`"
        )


@contextlib.contextmanager
def local_runner(
    watcher: Watcher,
    *,
    slots: Slots,
    run_subprocess: Callable[..., int],
    run_container: Callable[..., int],
    interrupted: threading.Event,
) -> Iterator[list[tuple[Task, dict[str, Any]]]]:
    """Make kfp's local runner run as many rows of a loop at once as wanted, and report the progress of the stages.

    Args:
        watcher: The object to notify.
        slots: The environments of the rows that run at once, and of a stage that runs alone.
        run_subprocess: A function that runs the process of a stage, with the arguments of `run_local_subprocess`.
        run_container: A function that runs the container of a stage, with the arguments of `run_docker_container`.
        interrupted: An event. Once it is set, no more stages start.

    Yields:
        The stages that have ended well so far, with their outputs by name. kfp itself keeps only what the pipeline
        returns, and a pipeline cannot return what is inside a condition.

    Raises:
        UserError: If another version of kfp is installed.
    """
    check_version()
    current = threading.local()  # the task of each thread, and whether it has been run
    alone, free = threading.current_thread(), queue.SimpleQueue[Mapping[str, str]]()  # rows run in other threads
    for slot in slots.rows:
        free.put(slot)
    produced: list[tuple[Task, dict[str, Any]]] = []
    execute, run = task_executor.execute_single_task, task_dispatcher.run_single_task_implementation

    class Cache(CheckedCache):
        def damaged(self) -> None:
            watcher.damaged(current.task)

    class ParallelExecutor(enhanced_dag_orchestrator.ParallelExecutor):
        def __init__(self) -> None:
            super().__init__()
            self.max_workers = self.conservative_max = len(slots.rows)

    def execute_single_task(*, task_name: str, io_store: IOStore, **arguments: Any) -> tuple[dict[str, Any], Status]:
        current.task, current.ran = _task(task_name, io_store), False
        result = execute(task_name=task_name, io_store=io_store, **arguments)
        if not current.ran:
            watcher.cached(current.task)
        outputs, status = result
        if status is Status.SUCCESS:
            produced.append((current.task, outputs))
        return result

    def run_single_task_implementation(*, executor_spec: Any, **arguments: Any) -> tuple[dict[str, Any], Status]:
        if interrupted.is_set():
            threading.Event().wait()  # wait until the process ends
        current.ran = True
        watcher.started(current.task)
        slot = None if threading.current_thread() is alone else free.get()
        try:
            outputs, status = run(executor_spec=_with_environment(executor_spec, slot or slots.alone), **arguments)
        except Exception as error:
            watcher.ended(current.task, succeeded=False, error=error)
            return {}, Status.FAILURE
        finally:
            if slot is not None:
                free.put(slot)
        watcher.ended(current.task, succeeded=status is Status.SUCCESS)
        return outputs, status

    values = {
        "_resolve_pipeline_channel": _resolve,
        "LocalCache": Cache,
        ITERATION: _iteration,
        "ParallelExecutor": ParallelExecutor,
        "execute_single_task": execute_single_task,
        "run_single_task_implementation": run_single_task_implementation,
        "run_local_subprocess": run_subprocess,
        "run_docker_container": run_container,
        "local_logger_context": contextlib.nullcontext,
        "indented_print": contextlib.nullcontext,
    }
    with contextlib.ExitStack() as stack:
        for owner, name, _ in REPLACED:
            stack.enter_context(replaced(owner, name, values[name]))
        yield produced


class CheckedCache(cache.LocalCache):
    """kfp's cache of the outputs of stages, without outputs that have changed since they were written.

    The cache is a folder with the entries in `.kfp_cache/` and the outputs beside that. Entries hold paths relative to
    the folder, and in keys its path does not count, so that it can be moved and copied. A digest of the entry with its
    key, because it may have taken the place of another, and one of the files that it names are kept beside it. The time
    of an entry is the start of the run that used it last.
    """

    def __init__(self, cache_root: str) -> None:
        super().__init__(cache_root)
        self._start = time.time()
        self._folder = Path(cache_root).absolute().parent

    def compute_key(self, component_name: str, *, arguments: dict[str, Any], **others: Any) -> str:
        """Return the key of a task, in which the paths of earlier outputs are relative to the cache.

        Where something lies whose content is known does not count: a copy elsewhere is the same.
        """
        plain = _without_places(self._serialize_value_for_key(arguments))
        return super().compute_key(
            component_name, arguments=_map_texts(plain, lambda text: text.replace(f"{self._folder}/", "\0")), **others
        )

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the outputs of a stage, or None if they are not in the cache or are damaged."""
        entry, kept = Path(self._entry_path(key)), self._digests_path(key)
        if not entry.exists():
            return None
        with contextlib.suppress(OSError, ValueError, RecursionError, cache._MissingArtifactError):
            with open_text(kept) as file:
                entry_digest, files_digest = file.read().split()
            if _digest_of_entry(key, entry) == entry_digest:
                outputs = self._deserialize_outputs(_map_uris(_content(entry), self._located))
                if not _has_links(_paths(outputs)) and digest(_paths(outputs)) == files_digest:
                    os.utime(entry, (self._start, self._start))
                    return outputs
        self.damaged()
        return None

    def put(self, key: str, outputs: dict[str, Any]) -> None:
        """Write the outputs of a stage, and their digests."""
        content = _map_uris(self._serialize_outputs(outputs), lambda uri: str(Path(uri).relative_to(self._folder)))
        with atomic_file(Path(self._entry_path(key))) as partial:
            write_json(partial, content)
        digests = f"{_digest_of_entry(key, Path(self._entry_path(key)))}\n{digest(_paths(outputs))}\n"
        with atomic_file(self._digests_path(key)) as partial:
            partial.write_text(digests, encoding="utf-8")
        os.utime(self._entry_path(key), (self._start, self._start))

    def damaged(self) -> None:
        """Handle outputs that are damaged."""

    def _digests_path(self, key: str) -> Path:
        return Path(self.cache_root) / f"{key}.sha256"

    def _located(self, uri: str) -> str:
        path = self._folder / _inside_cache(uri)
        if not path.resolve().is_relative_to(self._folder.resolve()):
            raise ValueError(f"{path} is a link out of the cache")
        return str(path)


def entry_paths(entry: Path) -> list[PurePosixPath]:
    """Return the paths in the cache that an entry names. An entry that is damaged or names others names none."""
    found: list[PurePosixPath] = []
    with contextlib.suppress(OSError, ValueError, RecursionError):
        _map_uris(_content(entry), lambda uri: found.append(_inside_cache(uri)))
        return found
    return []


def _inside_cache(uri: str) -> PurePosixPath:
    """Return a path relative to the cache, which an entry names.

    Raises:
        ValueError: If it is the path of anything but an output of a run.
    """
    path = PurePosixPath(uri)
    if len(path.parts) < 2 or ".." in path.parts or not RUN.fullmatch(path.parts[0]):
        raise ValueError(f"expected the path of an output in the cache, found {uri}")
    return path


def _content(entry: Path) -> dict[str, Any]:
    with open_file(entry) as file:
        content = json.load(file)
    if not isinstance(content, dict):
        raise ValueError("expected outputs by name")
    return content


def _map_uris(value: Any, change: Callable[[str], Any]) -> Any:
    """Return the outputs of a stage, as kfp serialises them, with the URI of every artifact changed."""
    if isinstance(value, list):
        return [_map_uris(each, change) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get(cache._ARTIFACT_MARKER):
        return value | {"uri": change(str(value.get("uri")))}
    return {key: _map_uris(each, change) for key, each in value.items()}


def _without_places(value: Any) -> Any:
    """Return the arguments of a stage without what says where content lies that they have a digest of."""
    if isinstance(value, list):
        return [_without_places(each) for each in value]
    if not isinstance(value, dict):
        return value
    places = {place for name, places in PLACES.items() if name in value for place in places}
    return {key: _without_places(each) for key, each in value.items() if key not in places}


def _map_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Return a value that can be JSON with every text in it changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_map_texts(each, change) for each in value]
    if isinstance(value, dict):
        return {change(key): _map_texts(each, change) for key, each in value.items()}
    return value


def _digest_of_entry(key: str, entry: Path) -> str:
    return hashlib.sha256(f"{key} {sha256(entry)}".encode()).hexdigest()


def _has_links(paths: Iterable[Path]) -> bool:
    """Return whether there is a link in outputs, which have none: it leads to what may change at any time."""
    return any(each.is_symlink() for path in paths for each in (path, *path.rglob("*")))


def _paths(outputs: Mapping[str, Any]) -> list[Path]:
    """Return the paths of all artifacts in the outputs of a stage, in order."""
    values = [value if isinstance(value, list) else [value] for _, value in sorted(outputs.items())]
    return [Path(each.path) for each in itertools.chain(*values) if isinstance(each, Artifact)]


def count_tasks(pipeline: Any, rows: int) -> int:
    """Return how many tasks a pipeline has whose loop has this many rows, if all its conditions are met."""
    spec = pipeline.pipeline_spec

    def count(dag: Any) -> int:
        return sum(
            (rows if task.WhichOneof("iterator") else 1) * count_task(spec.components[task.component_ref.name])
            for task in dag.tasks.values()
        )

    def count_task(component: Any) -> int:
        return count(component.dag) if component.WhichOneof("implementation") == "dag" else 1

    return count(spec.root.dag)


def stages_of(pipeline: Any) -> list[str]:
    """Return the names of a pipeline's stages."""
    executors = pipeline.pipeline_spec.deployment_spec["executors"]
    return sorted(name.removeprefix("exec-") for name in executors)


def images_of(pipeline: Any) -> list[str]:
    """Return the images of a pipeline's stages."""
    executors = pipeline.pipeline_spec.deployment_spec["executors"]
    return sorted({executors[name]["container"]["image"] for name in executors})


def _task(stage: str, store: IOStore) -> Task:
    """Return a stage, with the row or the shard of the iteration that it belongs to."""
    with contextlib.suppress(ValueError):
        return Task(stage, row=store.get_parent_input(ROW))
    with contextlib.suppress(ValueError):
        return Task(stage, shard=int(store.get_parent_input(SHARD)))
    return Task(stage)


def _resolve(channel_ref: str, io_store: IOStore) -> Any:
    """Return the value of an output of a stage in a condition, `pipelinechannel--STAGE-OUTPUT`."""
    stage, _, output = channel_ref.removeprefix("pipelinechannel--").rpartition("-")
    return io_store.get_task_output(stage, output)


def _iteration(original_task_spec: Any, loop_item: Any, loop_task_name: str) -> Any:
    """Return kfp's description of one row of a loop, with the outputs of earlier stages that it replaced by the row."""
    iteration = _KFP_ITERATION(original_task_spec, loop_item, loop_task_name)
    for name, value in original_task_spec.inputs.parameters.items():
        if value.HasField("task_output_parameter"):
            iteration.inputs.parameters[name].CopyFrom(value)
    return iteration


def _with_environment(executor: Any, environment: Mapping[str, str]) -> Any:
    """Return a copy of kfp's description of a container, with additional environment variables."""
    executor = copy.deepcopy(executor)  # the rows of a loop share it
    for name, value in environment.items():
        executor.container.env.add(name=name, value=value)
    return executor


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute of an object until the block ends."""
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


class Client(kfp.Client):
    """kfp's client with a timeout, and with requests for which kfp has no method.

    Attributes:
        namespace: The user's namespace, or None if Kubeflow has no users.
    """

    def __init__(self, *, namespace: str | None = None, **options: Any) -> None:
        check_version()
        super().__init__(namespace=namespace, **options)
        self.namespace = namespace
        api = self._healthz_api.api_client
        api.rest_client.request = _limited(api.rest_client.request)
        api.rest_client.pool_manager.request = _complete(api.rest_client.pool_manager.request)
        api.deserialize = checked(api.deserialize)

    def get_kfp_healthz(self, sleep_duration: int = 0) -> kfp_server_api.V2beta1GetHealthzResponse:
        """Return a constant, because kfp would ask five times, with tracebacks, only to guess the user's namespace."""
        return kfp_server_api.V2beta1GetHealthzResponse(multi_user=False)

    def open(self, path: str, **query: str) -> urllib3.HTTPResponse:
        """Send a GET request for which kfp has no method. The caller must read and close the answer.

        This method may be called from several threads.
        """
        return self._healthz_api.api_client.call_api(
            path,
            "GET",
            query_params=list(query.items()),
            auth_settings=["Bearer"],
            _preload_content=False,
            header_params={"Accept": "*/*"},
        )

    def get(self, path: str, **query: str) -> bytes:
        """Return the complete answer to such a request."""
        return _read(self.open(path, **query))

    def get_text(self, path: str, **query: str) -> str:
        """Return the answer to such a request as text."""
        return self.get(path, **query).decode(errors="replace")

    def page(self, kind: str, identity: str) -> str:
        """Return the URL of an object on Kubeflow's page, or only its path if the URL of that page is not known.

        Args:
            kind: "runs" or "recurringrun".
            identity: Id of the object.
        """
        page = f"#/{kind}/details/{identity}"
        host = self._get_url_prefix().rstrip("/")
        return f"{host}/{page}" if not _inside(host) and self.has_page() else f"{page} on Kubeflow's page"

    def has_page(self) -> bool:
        """Return whether the address is that of Kubeflow's page, and not of the API alone."""
        try:
            return "<html" in self.get_text("/").lower()
        except kfp_server_api.ApiException:
            return False


def _inside(host: str) -> bool:
    """Return whether an address works only inside a cluster, and therefore not in a browser."""
    name = urlsplit(host).hostname
    return name is None or name.endswith((".svc", ".svc.cluster.local")) or not re.search(r"[.:]|^localhost$", name)


def _limited(request: Callable[..., Any]) -> Callable[..., Any]:
    def limited_request(*args: Any, _request_timeout: float | None = None, **options: Any) -> Any:
        return request(*args, _request_timeout=_request_timeout or TIMEOUT, **options)

    return limited_request


def _complete(request: Callable[..., urllib3.BaseHTTPResponse]) -> Callable[..., urllib3.BaseHTTPResponse]:
    """Return a function of urllib3's pool whose answers have an end, and are text where kfp takes them for it."""

    def complete_request(*args: Any, preload_content: bool = True, **options: Any) -> urllib3.BaseHTTPResponse:
        answer = request(*args, preload_content=False, **options)
        if not preload_content and answer.status < 300:
            return answer
        text = _read(answer).decode(errors="replace")
        return urllib3.HTTPResponse(
            BytesIO(text.encode()),
            headers={"Content-Type": "text/plain"},
            status=answer.status,
            reason=answer.reason,
        )

    return complete_request


def _read(answer: urllib3.BaseHTTPResponse) -> bytes:
    """Read an answer to its end.

    Raises:
        urllib3.exceptions.HTTPError: If it has no end, or takes too long.
    """
    deadline, content = time.monotonic() + MOST_SECONDS, bytearray()
    try:
        for chunk in answer.stream(CHUNK):
            content += chunk
            if len(content) > MOST_BYTES:
                raise urllib3.exceptions.HTTPError(f"it sent more than {MOST_BYTES >> 20} MiB")
            if time.monotonic() > deadline:
                raise urllib3.exceptions.HTTPError(f"it sent something for more than {MOST_SECONDS} s")
    except BaseException:
        answer.close()
        raise
    answer.release_conn()
    return bytes(content)
