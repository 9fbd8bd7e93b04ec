"""Artifacts of a run by their URIs: from the server of Kubeflow's page, or from the object store that they are in.

The page's server reads the store with its own credentials; the API's server hands out no artifacts.
"""

import tarfile
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from urllib.parse import quote, urlsplit

import urllib3
from kfp_server_api import ApiException

from audiotagging.data.mirror import fetch_all, list_files
from audiotagging.errors import UserError
from audiotagging.files import whole_file, whole_folder
from audiotagging.progress import track
from commands.cluster.client import Client

THREADS = 6  # artifacts at once; kfp's client has 10 connections
CHUNK = 1 << 20
TRIES = 3  # of an artifact whose connection breaks
SOURCES = {"minio": "minio", "s3": "s3", "gs": "gcs"}  # what the page's server calls the stores, by the URI's scheme
BROKEN_OFF = (urllib3.exceptions.HTTPError, tarfile.ReadError, EOFError, zlib.error)


def read_artifact(client: Client, uri: str) -> bytes:
    """Return the content of an artifact that is one object.

    Raises:
        ApiException: If the server has no such object, or is the API's server, which hands out none.
    """
    return client.get(_address(uri), **({"namespace": client.namespace} if client.namespace else {}))


def _address(uri: str) -> str:
    parts = urlsplit(uri)
    return f"/artifacts/{SOURCES[parts.scheme]}/{parts.netloc}/{quote(parts.path.lstrip('/'))}"


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
    try:
        return client.open(_address(uri), **({"namespace": namespace} if namespace else {}))
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
        endpoint: Where the store is, as `http://localhost:9000`; empty for Google's or Amazon's.

    Raises:
        UserError: If the store cannot be read, or one is gone.
    """
    files = {
        folder / place / name if name else folder / place: file
        for place, uri in uris.items()
        for name, file in list_files(uri.replace("minio://", "s3://", 1), endpoint=endpoint).items()
    }
    fetch_all(files, folder)
