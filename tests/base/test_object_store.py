import os
import re
import socket

import pytest
from pyarrow.fs import AzureFileSystem, FileSelector, GcsFileSystem

from audiotagging.base import object_store
from audiotagging.base.errors import UserError
from audiotagging.base.object_store import VARIABLES, open_store, store_errors

URL = "s3://bucket/folder"


def read(url, **options):
    store, path = open_store(url, **options)
    with store_errors(url):
        return store.get_file_info(FileSelector(path))


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(object_store, "ATTEMPTS", 1)
    monkeypatch.setattr(object_store, "SILENT_SECONDS", 1.0)


@pytest.fixture
def nobody():
    """The address of a server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("how", ["option", "environment", "environment of S3"])
def test_the_endpoint_comes_from_the_option_or_the_environment(s3, monkeypatch, how):
    s3.client.put_object(Bucket="bucket", Key="folder/file", Body=b"")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url if how == "environment" else "http://127.0.0.1:1")
    if how == "environment of S3":
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
    (found,) = read(URL, **({"endpoint": s3.url + "/"} if how == "option" else {}))
    assert found.path == "bucket/folder/file"


def test_a_server_that_is_not_there(impatient, s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(UserError, match=f"^{URL} cannot be read: no answer from the store .*127.0.0.1:1.*its address"):
        read(URL)


def test_a_server_that_never_answers(impatient, s3, nobody, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", nobody)
    with pytest.raises(UserError, match=f"^{URL} cannot be read: no answer from the store .*its address"):
        read(URL)


@pytest.mark.parametrize("keys", [{}, {"AWS_ACCESS_KEY_ID": "unknown", "AWS_SECRET_ACCESS_KEY": "wrong"}])
def test_without_the_right_credentials_it_says_where_they_are_looked_for(s3, monkeypatch, keys):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    s3.shut()
    with pytest.raises(UserError) as error:
        read(URL)
    assert "access is denied" in str(error.value) and "\n" not in str(error.value)
    assert all(name in str(error.value) for name in VARIABLES["s3"])


def test_a_secret_decides_where_a_store_is_and_who_asks(s3, monkeypatch, tmp_path):
    s3.client.put_object(Bucket="bucket", Key="folder/file", Body=b"")
    for name in [name for names in VARIABLES.values() for name in names]:
        monkeypatch.setenv(name, "of another store")
    secret = {"AWS_ENDPOINT_URL": s3.url, "AWS_ACCESS_KEY_ID": "key\n", "AWS_SECRET_ACCESS_KEY": "secret"}
    secret |= {"AWS_REGION": "us-east-1", "GOOGLE_APPLICATION_CREDENTIALS": "{}"}
    for name, value in secret.items():
        (tmp_path / name).write_text(value)
    monkeypatch.setattr(object_store, "SECRET", tmp_path)
    (found,) = read(URL)
    assert found.path == "bucket/folder/file"
    assert os.environ["AWS_ACCESS_KEY_ID"] == "key" and os.environ["AZURE_STORAGE_KEY"] == "of another store"
    assert os.environ["GOOGLE_APPLICATION_CREDENTIALS"] == str(tmp_path / "GOOGLE_APPLICATION_CREDENTIALS")


@pytest.mark.parametrize(
    ("url", "kind", "path"),
    [
        ("gs://bucket/a/b/", GcsFileSystem, "bucket/a/b"),
        ("abfs://container@account.dfs.core.windows.net/a%20b", AzureFileSystem, "container/a b"),
        ("abfs://container/a", AzureFileSystem, "container/a"),
    ],
)
def test_the_other_clouds(monkeypatch, url, kind, path):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "account")
    store, found = open_store(url)
    assert isinstance(store, kind) and found == path


def test_azure_needs_an_account(monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT", raising=False)
    with pytest.raises(UserError, match=re.escape("abfs://container@ACCOUNT.dfs.core.windows.net")):
        open_store("abfs://container/a")


@pytest.mark.parametrize(
    ("text", "expected"),
    [  # what the stores' libraries say, as they said it
        ("AWS Error NO_SUCH_BUCKET during ListObjectsV2 operation: The bucket does not exist", "no bucket 'bucket'"),
        ("Could not create a OAuth2 access token to authenticate the request.", "access is denied"),
        ("[Errno 2] google::cloud::Status(NOT_FOUND: Received HTTP status code: 404", "there is nothing of this name"),
        ("N5Azure4Core11Credentials23AuthenticationExceptionE: Failed to get token", "access is denied"),
        ("AWS Error SLOW_DOWN: Please reduce your rate (Request ID: ABC)", "Please reduce your rate$"),
    ],
)
def test_what_a_store_says_is_one_line(text, expected):
    with pytest.raises(UserError, match=f"^{URL} cannot be read: .*{expected}"), store_errors(URL):
        raise OSError(text)
