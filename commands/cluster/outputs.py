"""The outputs of a run on a cluster: where they are, and how they come here.

The URI of an artifact stands in what Kubeflow's drivers gave to the stages. It is fetched from the server of Kubeflow's
page, which reads the store with its own credentials, or from the store itself.
"""

import tarfile
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3
from kfp_server_api import ApiException

from audiotagging.data.mirror import fetch_all, list_files
from audiotagging.errors import UserError
from audiotagging.files import whole_file, whole_folder
from audiotagging.progress import track
from commands.cluster.client import Client
from commands.cluster.workflow import Stage, read_workflow
from commands.outputs import places

THREADS = 6  # artifacts at once; kfp's client has 10 connections
CHUNK = 1 << 20
TRIES = 3  # of an artifact whose connection breaks
SOURCES = {"minio": "minio", "s3": "s3"}  # what the page's server calls the stores, by the URI's scheme
BROKEN_OFF = (urllib3.exceptions.HTTPError, tarfile.ReadError, EOFError, zlib.error)


def find_outputs(client: Client, run_id: str) -> dict[str, str]:
    """Return the URIs of a run's outputs by where they go in OUT.

    `evaluate` runs in every run and was given all but the predictions, with the member and fold of every model.
    `ensemble` was given these, in this run or in the earlier one whose average this run took from the cache.

    Raises:
        UserError: If the run has not come so far, or the earlier run is gone.
    """
    stages = {stage.name: stage for stage in read_workflow(client, run_id).stages if stage.row is None}
    evaluate = stages.get("evaluate")
    if not evaluate or evaluate.state != "done":
        state = evaluate.state if evaluate else "not begun"
        raise UserError(f"run {run_id}: expected one whose stage evaluate is done, found it {state}")
    (averaged,) = _given(evaluate, "averaged")
    ensemble = stages["ensemble"]
    if ensemble.state == "cached":
        origin = averaged["uri"].split("/")[-4]  # ROOT/PIPELINE/RUN/STAGE/EXECUTION/NAME
        earlier = {stage.name: stage for stage in read_workflow(client, origin).stages}
        if "ensemble" not in earlier:
            raise UserError(f"run {run_id} took its average from the cache; run {origin}, which made it, is gone")
        ensemble = earlier["ensemble"]
    (spectrograms,), (selection,) = _given(evaluate, "spectrograms"), _given(evaluate, "selection")
    return places(
        spectrograms=spectrograms["uri"],
        selection=selection["uri"],
        models=_by_row(_given(evaluate, "models")),
        predictions=_by_row(_given(ensemble, "predictions")),
        averaged=averaged["uri"],
        scores=evaluate.outputs["scores"][0],
        report=evaluate.outputs["report"][0],
    )


def _given(stage: Stage, name: str) -> list[dict[str, Any]]:
    """Return the artifacts that a stage was given under a name, each with its `uri` and `metadata`."""
    return stage.executor_input["inputs"]["artifacts"][name]["artifacts"]


def _by_row(artifacts: list[dict[str, Any]]) -> list[tuple[str, int, str]]:
    return [(each["metadata"]["member"], int(each["metadata"]["fold"]), each["uri"]) for each in artifacts]


def fetch_from_page(client: Client, uris: Mapping[str, str], folder: Path, *, namespace: str | None) -> None:
    """Fetch artifacts through the server of Kubeflow's page.

    Args:
        client: The connection to it.
        uris: The artifacts by their places in the folder.
        folder: Where they go.
        namespace: The user's, where Kubeflow has users.

    Raises:
        UserError: If one is gone, or breaks off again and again, or this is not the page's server.
    """
    pool = ThreadPoolExecutor(THREADS)
    try:
        fetched = [pool.submit(_fetch, client, uri, folder / place, namespace) for place, uri in uris.items()]
        for future in track(as_completed(fetched), label="artifacts", total=len(fetched)):
            future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _fetch(client: Client, uri: str, path: Path, namespace: str | None) -> None:
    for attempt in range(1, TRIES + 1):
        try:
            with _open(client, uri, namespace) as answer:
                _save(answer, path)
            break
        except BROKEN_OFF as error:
            if attempt == TRIES:
                raise UserError(f"{uri} broke off {TRIES} times ({error}); try again, or give --s3-endpoint") from error


def _open(client: Client, uri: str, namespace: str | None) -> urllib3.HTTPResponse:
    parts = urlsplit(uri)
    if parts.scheme not in SOURCES:
        raise UserError(f"{uri}: expected an artifact in a store with the protocol of S3, found {parts.scheme}://")
    address = f"/artifacts/{SOURCES[parts.scheme]}/{parts.netloc}/{quote(parts.path.lstrip('/'))}"
    try:
        return client.open(address, **({"namespace": namespace} if namespace else {}))
    except ApiException as error:
        if error.status != 404:
            raise
        if "No objects found" in str(error.body):
            raise UserError(f"{uri} is gone from the store") from error
        raise UserError(
            "this server does not hand out artifacts; give --host the address of Kubeflow's page (the service "
            "ml-pipeline-ui), or --s3-endpoint"
        ) from error


def _save(answer: urllib3.HTTPResponse, path: Path) -> None:
    """Write an artifact: what comes as an attachment is a folder, as a tar archive, all else a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if "attachment" in answer.headers.get("Content-Disposition", ""):
        with whole_folder(path) as part, tarfile.open(fileobj=answer, mode="r|gz") as archive:
            archive.extractall(part, filter="data")
        return
    with whole_file(path) as part, part.open("wb") as file:
        for chunk in answer.stream(CHUNK):
            file.write(chunk)


def fetch_from_store(uris: Mapping[str, str], folder: Path, *, endpoint: str) -> None:
    """Fetch artifacts from their store itself, with the environment's credentials.

    Args:
        uris: The artifacts by their places in the folder.
        folder: Where they go.
        endpoint: Where the store is, as `http://localhost:9000`.

    Raises:
        UserError: If the store cannot be read, or one is gone.
    """
    files = {
        folder / place / name if name else folder / place: file
        for place, uri in uris.items()
        for name, file in list_files(uri.replace("minio://", "s3://", 1), endpoint=endpoint).items()
    }
    fetch_all(files, folder)
