"""Downloads artifacts of a run by URI, from the server of Kubeflow's page or directly from the object store.

The server of the page reads the store with its own credentials. The server of the API does not provide artifacts.
"""

import tarfile
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from urllib.parse import quote, urlsplit

import urllib3
from kfp_server_api import ApiException

from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_file, atomic_folder
from audiotagging.base.progress import track
from audiotagging.data.mirror import fetch_all, list_files
from commands.cluster.answers import AnswerError
from commands.cluster.client import Client

THREADS = 6  # artifacts to download at once; kfp's client has 10 connections
CHUNK = 1 << 20
TRIES = 3  # attempts to download an artifact if the connection breaks
SOURCES = {"minio": "minio", "s3": "s3", "gs": "gcs"}  # the page's names of the stores, by URI scheme
BROKEN_OFF = (urllib3.exceptions.HTTPError, tarfile.TarError, EOFError, zlib.error)


def read_artifact(client: Client, uri: str) -> bytes:
    """Return the content of an artifact that is one object.

    Raises:
        ApiException: If the server has no such object, or if it is the server of the API.
    """
    return client.get(_address(uri), **({"namespace": client.namespace} if client.namespace else {}))


def _address(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.scheme not in SOURCES:
        raise AnswerError(f"expected an artifact in a store of {', '.join(SOURCES)}, found {uri}")
    return f"/artifacts/{SOURCES[parts.scheme]}/{parts.netloc}/{quote(parts.path.lstrip('/'))}"


def fetch_from_page(client: Client, uris: Mapping[str, str], folder: Path, *, namespace: str | None) -> None:
    """Download artifacts through the server of Kubeflow's page.

    Args:
        client: The connection.
        uris: The artifacts by their paths in the folder.
        folder: The folder to write to.
        namespace: The namespace of the user, or None if Kubeflow has no users.

    Raises:
        UserError: If an artifact does not exist, if its download is interrupted several times, or if this is not the
            server of the page.
    """
    pool = ThreadPoolExecutor(THREADS)
    try:
        fetched = [pool.submit(_fetch, client, uri, folder / path, namespace) for path, uri in uris.items()]
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
                raise UserError(
                    f"the download of {uri} was interrupted {TRIES} times ({error}); try again, or use --s3-endpoint"
                ) from error


def _open(client: Client, uri: str, namespace: str | None) -> urllib3.HTTPResponse:
    try:
        return client.open(_address(uri), **({"namespace": namespace} if namespace else {}))
    except ApiException as error:
        if error.status != 404:
            raise
        if "No objects found" in str(error.body):
            raise UserError(f"{uri} is gone from the store") from error
        raise UserError(
            "this server does not provide artifacts; use --host with the address of Kubeflow's page (the service "
            "ml-pipeline-ui), or --s3-endpoint"
        ) from error


def _save(answer: urllib3.HTTPResponse, path: Path) -> None:
    """Write an artifact. An attachment is a tar archive of a folder; everything else is a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if "attachment" in answer.headers.get("Content-Disposition", ""):
        with atomic_folder(path) as partial, tarfile.open(fileobj=answer, mode="r|gz") as archive:
            archive.extractall(partial, filter="data")
        return
    with atomic_file(path) as partial, partial.open("wb") as file:
        for chunk in answer.stream(CHUNK):
            file.write(chunk)


def fetch_from_store(uris: Mapping[str, str], folder: Path, *, endpoint: str) -> None:
    """Download artifacts directly from their store, with credentials from the environment.

    Args:
        uris: The artifacts by their paths in the folder.
        folder: The folder to write to.
        endpoint: URL of the store, such as `http://localhost:9000`. An empty string means Google's or Amazon's store.

    Raises:
        UserError: If the store cannot be read, or if an artifact does not exist.
    """
    files = {
        folder / path / name if name else folder / path: file
        for path, uri in uris.items()
        for name, file in list_files(uri.replace("minio://", "s3://", 1), endpoint=endpoint).items()
    }
    fetch_all(files, folder)
