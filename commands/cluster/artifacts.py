"""Artifacts of a run, which the server of Kubeflow's page hands out by their URI."""

from urllib.parse import quote, urlsplit

from commands.cluster.client import Client

SOURCES = {"minio": "minio", "s3": "s3", "gs": "gcs"}  # what the page's server calls the stores, by the URI's scheme


def read_artifact(client: Client, uri: str) -> bytes:
    """Return the content of an artifact that is one object.

    Raises:
        ApiException: If the server has no such object, or is the API's server, which hands out none.
    """
    parts = urlsplit(uri)
    return client.get(f"/artifacts/{SOURCES[parts.scheme]}/{parts.netloc}/{quote(parts.path.lstrip('/'))}")
